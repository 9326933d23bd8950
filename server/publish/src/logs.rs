//! Where the logs of a report come from.

use std::path::{Component, Path, PathBuf};

use async_trait::async_trait;
use ejecta_core::job::LeaseId;
use ejecta_core::krate::CrateId;
use ejecta_core::mode::Scope;

use crate::PublishError;
use crate::error::io;

/// A log that results name.
#[derive(Debug, Clone, Copy)]
pub struct LogRef<'a> {
    /// Whose.
    pub krate: &'a CrateId,
    /// Of which tier.
    pub tier: Scope,
    /// Where pages link to: `logs/<id>/<tier>-<name>.log`.
    pub path: &'a str,
    /// Under which lease the job was done, where that is known.
    pub lease: Option<&'a LeaseId>,
}

/// Reads logs, and lockfiles where these are not in the records.
#[async_trait]
pub trait LogReader: Send + Sync {
    /// A log, where there is one.
    async fn log(&self, log: LogRef<'_>) -> Result<Option<String>, PublishError>;

    /// A file of a published report that records would hold; by its path there.
    async fn file(&self, path: &str) -> Result<Option<String>, PublishError>;
}

/// No logs at all.
#[derive(Debug, Clone, Copy)]
pub struct NoLogs;

#[async_trait]
impl LogReader for NoLogs {
    async fn log(&self, _log: LogRef<'_>) -> Result<Option<String>, PublishError> {
        Ok(None)
    }

    async fn file(&self, _path: &str) -> Result<Option<String>, PublishError> {
        Ok(None)
    }
}

/// Logs as files below a directory, where results say.
#[derive(Debug, Clone)]
pub struct Beside(pub PathBuf);

impl Beside {
    fn read(&self, path: &str) -> Result<Option<String>, PublishError> {
        let Some(file) = below(&self.0, path) else {
            return Ok(None);
        };
        match fs_err::read(&file) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io("read", &file)(e)),
        }
    }
}

#[async_trait]
impl LogReader for Beside {
    async fn log(&self, log: LogRef<'_>) -> Result<Option<String>, PublishError> {
        self.read(log.path)
    }

    async fn file(&self, path: &str) -> Result<Option<String>, PublishError> {
        self.read(path)
    }
}

/// A path of a file from outside, below `dir`; `None` where it leads out of it.
pub(crate) fn below(dir: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_));
    (path.components().next().is_some() && path.components().all(plain)).then(|| dir.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let dir = Path::new("/r");
        let inside = Some(PathBuf::from("/r/a/b.log"));
        assert_eq!(below(dir, "a/b.log"), inside);
        for out in ["", "/etc/passwd", "../x", "a/../../x", ".."] {
            assert_eq!(below(dir, out), None, "{out}");
        }
    }
}
