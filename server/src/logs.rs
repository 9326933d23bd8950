//! The logs of an experiment's jobs, as files in a directory.
//!
//! One store serves one experiment. A log is at [`log_path`] below the directory and is durable
//! when [`LogStore::write`] returns, so that a committed result never names a log that a crash has
//! taken. Whoever writes must hold the job: this module knows nothing of leases.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::{JobId, LeaseId};
use ejecta_core::log::clean;
use ejecta_core::protocol::LogFile;
use fs_err as fs;

use crate::blobs::{BlobError, Blobs};
use crate::packs;
use crate::store::ErrorClass;

/// The longest crate id that becomes a directory's name, in bytes.
const MAX_ID_BYTES: usize = 200;

/// The file that a probe makes and removes.
const PROBE: &str = ".probe";

/// Why logs could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A name from outside that is not safe in a path.
    #[error("keep a log: `{}` is no safe name", .0.escape_debug())]
    Name(String),
    /// The file system refused.
    #[error("keep a log: {0}")]
    Io(#[from] io::Error),
    /// The place where objects are refused.
    #[error("{0}")]
    Blob(#[from] BlobError),
}

impl LogError {
    /// What the failure means for the next step.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Name(_) => ErrorClass::Permanent,
            Self::Io(_) => ErrorClass::Transient,
            Self::Blob(error) => error.class(),
        }
    }
}

/// Where the log `name` of `job` is, relative to the experiment's directory and with `/` on every
/// system: `logs/<crate id>/<tier>-<name>.log`.
///
/// # Errors
/// [`LogError::Name`] when the log's name or the crate's is not safe in a path.
pub fn log_path(job: &JobId, name: &str) -> Result<String, LogError> {
    let id = job.krate.as_str();
    let id_is_safe = (1..=MAX_ID_BYTES).contains(&id.len())
        && !id.starts_with('.')
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-' | b'@'));
    if !id_is_safe {
        return Err(LogError::Name(id.to_owned()));
    }
    if !LogFile::name_is_safe(name) {
        return Err(LogError::Name(name.to_owned()));
    }
    Ok(format!("logs/{id}/{}-{name}.log", job.tier))
}

/// Where a coordinator keeps logs.
#[derive(Debug, Clone)]
pub enum Logs {
    /// As plain files that people read, of one experiment and one coordinator.
    Plain(LogStore),
    /// As objects, each under its lease.
    Objects(Blobs),
}

impl From<LogStore> for Logs {
    fn from(files: LogStore) -> Self {
        Self::Plain(files)
    }
}

impl From<Blobs> for Logs {
    fn from(objects: Blobs) -> Self {
        Self::Objects(objects)
    }
}

impl Logs {
    /// Whether a log could be kept now.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn probe(&self) -> Result<(), LogError> {
        match self {
            Self::Plain(files) => files.probe().await,
            Self::Objects(blobs) => Ok(blobs.probe().await?),
        }
    }

    /// Whether logs of different leases of a job have the same names, so that whoever writes some has
    /// to be alone.
    pub fn take_turns(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Objects(_) => false,
        }
    }

    /// Keeps the logs of a job, done under `lease`, whose holder the caller is.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn write(
        &self,
        experiment: &ExperimentName,
        job: &JobId,
        lease: &LeaseId,
        logs: &[LogFile],
    ) -> Result<(), LogError> {
        match self {
            Self::Plain(files) => files.write(job, logs).await,
            Self::Objects(blobs) => packs::put(blobs, experiment, job, lease, logs).await,
        }
    }

    /// Forgets the logs that were written under a lease that has lost its job. Plain files are left:
    /// those of the winner have the same names.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn forget(
        &self,
        experiment: &ExperimentName,
        lease: &LeaseId,
    ) -> Result<(), LogError> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Objects(blobs) => packs::forget(blobs, experiment, lease).await,
        }
    }
}

/// The logs below one experiment's directory.
#[derive(Debug, Clone)]
pub struct LogStore {
    dir: PathBuf,
}

impl LogStore {
    /// Keeps logs below `dir`, the experiment's directory, which must be there.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Whether there is a place where a file could be made.
    async fn probe(&self) -> Result<(), LogError> {
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || {
            let file = dir.join(PROBE);
            fs::write(&file, PROBE)?;
            fs::remove_file(&file)
        })
        .await
        .map_err(io::Error::other)??;
        Ok(())
    }

    /// Writes the logs of one job, over older ones of the same names. Each is either wholly there
    /// or not at all, whenever the process or the machine dies. What a terminal would obey is
    /// taken out, whoever sent it.
    ///
    /// # Errors
    /// [`LogError::Name`] before anything is written; [`LogError::Io`].
    pub async fn write(&self, job: &JobId, logs: &[LogFile]) -> Result<(), LogError> {
        let mut files = Vec::with_capacity(logs.len());
        for log in logs {
            let path = self.dir.join(log_path(job, &log.name)?);
            files.push((path, clean(&log.text)));
        }
        tokio::task::spawn_blocking(move || write_all(&files))
            .await
            .map_err(io::Error::other)??;
        Ok(())
    }
}

/// Writes files that all lie in one directory.
fn write_all(files: &[(PathBuf, String)]) -> io::Result<()> {
    let Some(dir) = files.first().and_then(|(path, _)| path.parent()) else {
        return Ok(());
    };
    make_dir(dir)?;
    for (path, text) in files {
        let temporary = path.with_extension("log.part");
        let mut file = fs::File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
    }
    sync_dir(dir)
}

/// Makes `logs/<crate id>` durably. Where it is there already, another job may have made it just
/// now: syncing is left to nobody else, and costs nothing where nothing has changed.
fn make_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for made_in in dir.ancestors().skip(1).take(2) {
        sync_dir(made_in)?;
    }
    Ok(())
}

/// Makes what was created or renamed in `dir` durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ejecta_core::mode::Scope;

    fn job(id: &str) -> JobId {
        JobId {
            krate: serde_json::from_value(id.into()).expect("any text"),
            tier: Scope::Lib,
        }
    }

    fn log(name: &str, text: &str) -> LogFile {
        LogFile {
            name: name.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn names_from_outside_stay_in_their_directory() {
        let of_repository = log_path(&job("a-1.0.0@0123"), "1-candidate").expect("safe");
        assert_eq!(of_repository, "logs/a-1.0.0@0123/lib-1-candidate.log");
        let path = log_path(&job("a-b_c-1.0.0+x.1"), "1-candidate").expect("safe");
        assert_eq!(path, "logs/a-b_c-1.0.0+x.1/lib-1-candidate.log");
        let long = "x".repeat(201);
        for id in ["", "..", ".", ".a", "a/b", "a\\b", "a b", "ä", "a\0", &long] {
            assert!(log_path(&job(id), "1-candidate").is_err(), "{id}");
        }
        for name in ["", "..", "a/b", "a.log", "../../x"] {
            assert!(log_path(&job("a-1.0.0"), name).is_err(), "{name}");
        }
    }

    #[tokio::test]
    async fn logs_are_written_whole_and_a_repeat_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = LogStore::new(dir.path());
        let logs = [log("0-prepare", "one\n"), log("1-candidate", "two\n")];
        for _ in 0..2 {
            store.write(&job("a-1.0.0"), &logs).await.expect("written");
        }
        let dir = dir.path().join("logs/a-1.0.0");
        let mut names: Vec<String> = std::fs::read_dir(&dir)
            .expect("there")
            .map(|e| {
                e.expect("readable")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        names.sort();
        assert_eq!(names, ["lib-0-prepare.log", "lib-1-candidate.log"]);
        let text = std::fs::read_to_string(dir.join("lib-1-candidate.log")).expect("there");
        assert_eq!(text, "two\n");
    }

    #[tokio::test]
    async fn one_unsafe_name_and_nothing_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = LogStore::new(dir.path());
        let logs = [log("1-candidate", "text"), log("../escape", "text")];
        let error = store
            .write(&job("a-1.0.0"), &logs)
            .await
            .expect_err("unsafe");
        assert_eq!(error.class(), ErrorClass::Permanent);
        assert_eq!(error.to_string(), "keep a log: `../escape` is no safe name");
        assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 0);
    }

    #[tokio::test]
    async fn a_terminal_obeys_nothing_in_a_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = LogStore::new(dir.path());
        let hostile = log("1-candidate", "\x1b]0;owned\x07\n");
        store
            .write(&job("a-1.0.0"), &[hostile])
            .await
            .expect("written");
        let path = dir.path().join("logs/a-1.0.0/lib-1-candidate.log");
        let text = std::fs::read_to_string(path).expect("there");
        assert_eq!(text, "\\u{1b}]0;owned\\u{7}\n");
    }
}
