//! The spool: a result is on the agent's disk until the coordinator has committed it.
//!
//! One file a lease, written beside its place and renamed into it, so that a file with the right
//! name is whole.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use ejecta_core::job::LeaseId;
use ejecta_core::protocol::SubmitRequest;
use fs_err as fs;

use crate::error::AgentError;

const SUFFIX: &str = "json";
/// How the name of a file begins that is being written.
const UNFINISHED: &str = "unfinished-";

/// A directory of results that wait to be acknowledged.
#[derive(Debug, Clone)]
pub struct Spool {
    dir: PathBuf,
}

impl Spool {
    /// Opens the spool in `dir`, made if it is not there; it is one agent's. What an agent that
    /// was killed had not written to its end is removed.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn open(dir: &Path) -> Result<Self, AgentError> {
        fs::create_dir_all(dir).map_err(AgentError::io("make", dir))?;
        for entry in fs::read_dir(dir).map_err(AgentError::io("read", dir))? {
            let entry = entry.map_err(AgentError::io("read", dir))?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                let path = entry.path();
                fs::remove_file(&path).map_err(AgentError::io("remove", &path))?;
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    fn path(&self, lease: &LeaseId) -> Result<PathBuf, AgentError> {
        let safe = !lease.0.is_empty()
            && lease.0.len() <= 100
            && lease
                .0
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !safe {
            return Err(AgentError::Bug(
                "a lease whose name is no file name".to_owned(),
            ));
        }
        Ok(self.dir.join(format!("{lease}.{SUFFIX}")))
    }

    /// Keeps a result, on disk when this returns.
    ///
    /// # Errors
    /// [`AgentError::Io`], when the disk is full for example.
    pub fn put(&self, request: &SubmitRequest) -> Result<(), AgentError> {
        let path = self.path(&request.lease)?;
        let write = || {
            let mut file = tempfile::Builder::new()
                .prefix(UNFINISHED)
                .tempfile_in(&self.dir)?;
            serde_json::to_writer(std::io::BufWriter::new(&mut file), request)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|e| e.error)?;
            Ok(())
        };
        write().map_err(AgentError::io("write", &path))
    }

    /// Forgets a result.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn forget(&self, lease: &LeaseId) -> Result<(), AgentError> {
        let path = self.path(lease)?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(AgentError::io("remove", &path)(e))
            }
            _ => Ok(()),
        }
    }

    /// All results that wait. A file that cannot be read is left where it is, and said.
    ///
    /// # Errors
    /// [`AgentError::Io`] when the directory cannot be read.
    pub fn waiting(&self) -> Result<Vec<SubmitRequest>, AgentError> {
        let mut waiting = Vec::new();
        let entries = fs::read_dir(&self.dir).map_err(AgentError::io("read", &self.dir))?;
        for entry in entries {
            let path = entry.map_err(AgentError::io("read", &self.dir))?.path();
            if path.extension().is_none_or(|e| e != SUFFIX) {
                continue;
            }
            let read = fs::read(&path)
                .map_err(|e| e.to_string())
                .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| e.to_string()));
            match read {
                Ok(request) => waiting.push(request),
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%path, error, "left a spooled result that cannot be read");
                }
            }
        }
        Ok(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ejecta_core::limits::Usage;
    use ejecta_core::outcome::{JobRecord, Unprepared, UnpreparedReason};

    fn request(lease: &str) -> SubmitRequest {
        let why = Unprepared::Broken {
            reason: UnpreparedReason::CargoToml,
            message: "x".to_owned(),
        };
        SubmitRequest {
            lease: LeaseId(lease.to_owned()),
            record: JobRecord::unprepared(why, Usage::default()),
            logs: Vec::new(),
        }
    }

    #[test]
    fn a_result_waits_until_it_is_forgotten() {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = Spool::open(dir.path()).expect("opens");
        spool.put(&request("a")).expect("written");
        spool.put(&request("a")).expect("a repeat is the same");
        let again = Spool::open(dir.path()).expect("opens");
        assert_eq!(again.waiting().expect("read"), [request("a")]);
        again.forget(&LeaseId("a".to_owned())).expect("removed");
        again
            .forget(&LeaseId("a".to_owned()))
            .expect("nothing to remove");
        assert!(again.waiting().expect("read").is_empty());
    }

    #[test]
    fn a_torn_file_does_not_stop_the_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = Spool::open(dir.path()).expect("opens");
        spool.put(&request("a")).expect("written");
        fs::write(dir.path().join("b.json"), "{\"lease\":").expect("writable");
        assert_eq!(spool.waiting().expect("read").len(), 1);
    }

    #[test]
    fn what_was_not_written_to_its_end_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = Spool::open(dir.path()).expect("opens");
        spool.put(&request("a")).expect("written");
        fs::write(dir.path().join("unfinished-x"), "{\"lease\":").expect("writable");
        let again = Spool::open(dir.path()).expect("opens");
        assert_eq!(again.waiting().expect("read"), [request("a")]);
        let left = fs::read_dir(dir.path()).expect("readable").count();
        assert_eq!(left, 1, "the whole one");
    }

    #[test]
    fn a_lease_cannot_name_a_file_elsewhere() {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = Spool::open(dir.path()).expect("opens");
        assert!(spool.put(&request("../x")).is_err());
        assert!(spool.put(&request("")).is_err());
    }
}
