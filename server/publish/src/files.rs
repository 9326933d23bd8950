//! Reports in a directory.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use fs_err as fs;

use crate::error::io;
use crate::{Body, PublishError, ReportFile, ReportSink};

/// A directory that a report is written into, beside whatever else is there. A web server that
/// serves it should compress, and say of each file what [`crate::kind_of`] says.
#[derive(Debug, Clone)]
pub struct Directory {
    dir: PathBuf,
}

impl Directory {
    /// Writes below `dir`, which is made where it is not there.
    ///
    /// # Errors
    /// [`PublishError::Io`].
    pub fn new(dir: impl Into<PathBuf>) -> Result<Self, PublishError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(io("make the directory", &dir))?;
        Ok(Self { dir })
    }

    fn write(&self, file: &ReportFile<'_>) -> std::io::Result<()> {
        let path = self.dir.join(file.name);
        let dir = path.parent().unwrap_or(&self.dir);
        let temporary = |dir: &Path| {
            tempfile::Builder::new()
                .prefix(".part-")
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
                .tempfile_in(dir)
        };
        let made = match temporary(dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                fs::create_dir_all(dir)?;
                temporary(dir)
            }
            made => made,
        };
        let mut made = made?;
        match &file.body {
            Body::Bytes(bytes) => std::io::Write::write_all(&mut made, bytes)?,
            Body::File(from) => {
                std::io::copy(&mut fs::File::open(from)?, &mut made)?;
            }
        }
        made.persist(&path).map_err(|e| e.error)?;
        Ok(())
    }
}

#[async_trait]
impl ReportSink for Directory {
    async fn put(&self, file: ReportFile<'_>) -> Result<(), PublishError> {
        self.write(&file)
            .map_err(io("write", self.dir.join(file.name)))
    }

    async fn flush(&self) -> Result<(), PublishError> {
        Ok(())
    }

    fn keeps_encodings(&self) -> bool {
        false
    }

    async fn finished(&self, data: &str) -> Result<(), PublishError> {
        let all = self.dir.join("data");
        let keep = self.dir.join(data.trim_end_matches('/'));
        let Ok(entries) = fs::read_dir(&all) else {
            return Ok(());
        };
        for entry in entries.flatten().map(|e| e.path()).filter(|p| *p != keep) {
            fs::remove_dir_all(&entry).map_err(io("remove", &entry))?;
        }
        Ok(())
    }
}
