//! Archives of logs: tar, compressed by zstd, one for each verdict and one of all.
//!
//! A file of zstd may be made of frames, and they are read as one. So each log is compressed once:
//! the archive of all is the others behind one another, and each ends with a frame that holds the
//! end of a tar file.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use ejecta_core::compare::Verdict;
use tempfile::NamedTempFile;

use crate::PublishError;
use crate::error::io;

/// The library's own default.
const LEVEL: i32 = 3;
/// The end of a tar file.
const END: [u8; 1024] = [0; 1024];

/// The archives, being written to temporary files.
#[derive(Default)]
pub(crate) struct Archives {
    open: BTreeMap<Verdict, Encoder>,
}

type Encoder = zstd::stream::write::Encoder<'static, BufWriter<NamedTempFile>>;

/// An archive that is finished.
pub(crate) struct Archive {
    /// The file's name in the report.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) what: String,
    pub(crate) file: NamedTempFile,
}

impl Archives {
    /// Adds a log of a crate with that verdict.
    pub(crate) fn add(
        &mut self,
        verdict: Verdict,
        path: &str,
        log: &str,
    ) -> Result<(), PublishError> {
        let encoder = match self.open.entry(verdict) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(encoder().map_err(failed("make"))?)
            }
        };
        let entry = entry(path, log.as_bytes()).map_err(failed("write"))?;
        encoder.write_all(&entry).map_err(failed("write"))
    }

    /// Ends all of them.
    pub(crate) fn finish(self) -> Result<Vec<Archive>, PublishError> {
        let mut archives = Vec::new();
        let mut all = NamedTempFile::new().map_err(failed("make"))?;
        for (verdict, encoder) in self.open {
            let mut file = closed(encoder).map_err(failed("write"))?;
            append(file.path(), &mut all).map_err(failed("write"))?;
            end(&mut file).map_err(failed("write"))?;
            archives.push(Archive {
                name: format!("logs-{verdict}.tar.zst"),
                what: format!("all logs of crates with the verdict {verdict}: tar, zstd"),
                file,
            });
        }
        if archives.is_empty() {
            return Ok(archives);
        }
        end(&mut all).map_err(failed("write"))?;
        archives.insert(
            0,
            Archive {
                name: "logs-all.tar.zst".to_owned(),
                what: "all logs: tar, zstd".to_owned(),
                file: all,
            },
        );
        Ok(archives)
    }
}

fn encoder() -> std::io::Result<Encoder> {
    Encoder::new(BufWriter::new(NamedTempFile::new()?), LEVEL)
}

fn closed(encoder: Encoder) -> std::io::Result<NamedTempFile> {
    let file = encoder.finish()?;
    file.into_inner()
        .map_err(std::io::IntoInnerError::into_error)
}

fn append(from: &Path, to: &mut NamedTempFile) -> std::io::Result<()> {
    std::io::copy(&mut fs_err::File::open(from)?, to)?;
    Ok(())
}

fn end(file: &mut NamedTempFile) -> std::io::Result<()> {
    file.write_all(&zstd::bulk::compress(&END, LEVEL)?)?;
    file.flush()
}

/// A file in a tar file, without that one's end. Nothing in it says when or by whom.
fn entry(path: &str, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    let mut builder = tar::Builder::new(Vec::with_capacity(bytes.len() + 2048));
    builder.append_data(&mut header, path, bytes)?;
    let mut whole = builder.into_inner()?;
    whole.truncate(whole.len() - END.len());
    Ok(whole)
}

fn failed(action: &'static str) -> impl FnOnce(std::io::Error) -> PublishError {
    io(action, "an archive of logs")
}
