//! Where the list of all crates comes from: the registry's database dump, downloaded when the one
//! that was read last is old; a dump on disk; or a checkout of an index.
//!
//! `<store>/snapshot-<key>/` holds what was read, as a [`Snapshot`] named by the time of the dump,
//! and `current.json`, which says which one counts and when it was asked for. The dump itself is
//! not kept. `<key>` is of the registry's address, or of the path on disk.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fs_err as fs;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::disk;
use crate::dump::{self, DumpError};
use crate::error::RegistryError;
use crate::http::{LargeAnswer, Validators};
use crate::registry::{Registry, unblocked};
use crate::snapshot::{Snapshot, file};
use crate::walk;

/// The file name of the dump, at the top of the server of downloads.
const DUMP: &str = "db-dump.tar.gz";
/// Which snapshot counts.
const CURRENT: &str = "current.json";
/// The version of that file's format; another one is as good as none.
const SCHEMA: u32 = 1;

/// Where the list of all crates comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// The registry's own dump.
    Registry,
    /// A dump on disk, or a directory with a checkout of the index.
    Path(PathBuf),
}

/// Why there is no list of all crates.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The registry, the network or the store's disk.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry has no dump where one would be.
    #[error(
        "list all crates of the registry: it has no database dump at `{url}`, and a sparse index lists none"
    )]
    NoDump {
        /// Where it would be.
        url: String,
    },
    /// The dump is damaged, or none.
    #[error("read the database dump `{place}`: {source}")]
    Dump {
        /// Its address or path.
        place: String,
        /// What is wrong with it.
        source: DumpError,
    },
}

impl DatabaseError {
    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::NoDump { .. } => Some(
                "name the crates in a list, or give `--database` a dump on disk or a checkout of the index",
            ),
            Self::Dump { source, .. } => match source {
                DumpError::Truncated(_) | DumpError::Archive(_) => Some(
                    "download it again; it is the file that the registry offers as db-dump.tar.gz",
                ),
                DumpError::Open(_) => Some("check the path given with `--database`"),
                DumpError::NoTable(_)
                | DumpError::NoColumn { .. }
                | DumpError::Row { .. }
                | DumpError::Metadata(_) => Some(
                    "a dump has the tables crates, versions, crate_downloads and dependencies as the public registry writes them",
                ),
            },
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Current {
    schema: u32,
    /// Seconds since 1970.
    fetched: u64,
    etag: Option<String>,
    last_modified: Option<String>,
    /// The file name of the snapshot.
    snapshot: String,
}

impl Current {
    fn validators(&self) -> Validators {
        Validators {
            etag: self.etag.clone(),
            last_modified: self.last_modified.clone(),
        }
    }

    fn is_fresh(&self, max_age: Duration) -> bool {
        let fetched = UNIX_EPOCH + Duration::from_secs(self.fetched);
        let age = SystemTime::now().duration_since(fetched);
        age.is_ok_and(|age| age < max_age)
    }
}

impl Registry {
    /// The list of all crates: from the disk while it is young, else from `database`.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn snapshot(&self, database: &Database) -> Result<Arc<Snapshot>, DatabaseError> {
        let dir = self.snapshots(database);
        disk::create_dirs(&dir)?;
        let snapshot = match database {
            Database::Registry => self.downloaded(dir).await?,
            Database::Path(path) if path.is_dir() => {
                let path = path.clone();
                unblocked(move || walk::read(&path)).await?
            }
            Database::Path(path) => {
                let path = path.clone();
                unblocked(move || from_disk(&path, &dir)).await?
            }
        };
        Ok(Arc::new(snapshot))
    }

    /// The list of all crates as it was last read from `database`, however old, if it was. Makes
    /// no request.
    pub async fn last_snapshot(&self, database: &Database) -> Option<Arc<Snapshot>> {
        let dir = self.snapshots(database);
        unblocked(move || Some(load(&dir)?.1)).await.map(Arc::new)
    }

    fn snapshots(&self, database: &Database) -> PathBuf {
        let key = match database {
            Database::Registry => self.address().to_owned(),
            Database::Path(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                format!("file:{}", path.display())
            }
        };
        let key = &disk::sha256_hex(key.as_bytes())[..16];
        self.store().join(format!("snapshot-{key}"))
    }

    async fn downloaded(&self, dir: PathBuf) -> Result<Snapshot, DatabaseError> {
        let place = dir.clone();
        let known = unblocked(move || load(&place)).await;
        let known = match known {
            Some((current, snapshot)) if current.is_fresh(self.config().max_snapshot_age) => {
                self.http().counters.index_cache_hits.add(1);
                return Ok(snapshot);
            }
            stale => stale,
        };
        let url = self.dump_url().await?;
        let nothing = Validators::default();
        let validators = known
            .as_ref()
            .map_or(nothing, |(current, _)| current.validators());
        let limit = self.config().max_dump_bytes;
        let answer = self
            .http()
            .large_file(&url, &validators, &dir, limit)
            .await?;
        match (answer, known) {
            (LargeAnswer::Found { file, validators }, _) => {
                unblocked(move || {
                    let read = dump::read(file.path());
                    let snapshot =
                        read.map_err(|source| DatabaseError::Dump { place: url, source })?;
                    keep(&snapshot, &dir, &validators)?;
                    Ok(snapshot)
                })
                .await
            }
            (LargeAnswer::NotModified, Some((current, snapshot))) => {
                let validators = current.validators();
                unblocked(move || note(&dir, &validators, &current.snapshot)).await?;
                Ok(snapshot)
            }
            (LargeAnswer::NotModified, None) => Err(RegistryError::Unreadable {
                url,
                why: "not modified since nothing".to_owned(),
            }
            .into()),
            (LargeAnswer::Missing, _) => Err(DatabaseError::NoDump { url }),
        }
    }

    /// The top of the server of downloads is where the public registry has its dump.
    async fn dump_url(&self) -> Result<String, RegistryError> {
        let downloads = self.downloads().await?;
        let server = downloads
            .server()
            .ok_or_else(|| RegistryError::Unreadable {
                url: format!("{}config.json", self.address()),
                why: "`dl` is no address".to_owned(),
            })?;
        Ok(format!("{server}{DUMP}"))
    }
}

/// The dump in a file. What was read of it is kept, with its size and date in place of a tag.
fn from_disk(path: &Path, dir: &Path) -> Result<Snapshot, DatabaseError> {
    let wrong = |source| DatabaseError::Dump {
        place: path.display().to_string(),
        source,
    };
    // The error of the plain function: the path is told already.
    let about = std::fs::metadata(path).map_err(|e| wrong(DumpError::Open(e)))?;
    let modified = about.modified().unwrap_or(UNIX_EPOCH);
    let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let validators = Validators {
        etag: Some(format!("{}-{}", about.len(), modified.as_nanos())),
        last_modified: None,
    };
    if let Some((current, snapshot)) = load(dir)
        && current.etag == validators.etag
    {
        return Ok(snapshot);
    }
    let snapshot = dump::read(path).map_err(wrong)?;
    keep(&snapshot, dir, &validators)?;
    Ok(snapshot)
}

/// The snapshot that counts, if there is one that can be read.
fn load(dir: &Path) -> Option<(Current, Snapshot)> {
    let current = fs::read(dir.join(CURRENT)).ok()?;
    let current: Current = serde_json::from_slice(&current).ok()?;
    // A name that somebody else wrote leads nowhere else.
    let plain = !current.snapshot.contains('/');
    if current.schema != SCHEMA || !plain {
        return None;
    }
    let snapshot = fs::File::open(dir.join(&current.snapshot)).ok()?;
    Some((current, file::read(snapshot)?))
}

/// Writes a snapshot; it counts from now on, and the others go.
fn keep(snapshot: &Snapshot, dir: &Path, validators: &Validators) -> Result<(), RegistryError> {
    let taken = snapshot.taken().map_or(0, Timestamp::as_second);
    let name = format!("{taken}.jsonl.gz");
    replace(&dir.join(&name), dir, |out| file::write(snapshot, out))?;
    note(dir, validators, &name)?;
    let others = fs::read_dir(dir).map_err(|e| RegistryError::io("read", dir, e))?;
    for other in others.flatten() {
        let other_name = other.file_name();
        let other_name = other_name.to_string_lossy();
        if other_name.ends_with(".jsonl.gz") && *other_name != name {
            // Whoever reads it has it open; what cannot be removed only takes room.
            let _ = fs::remove_file(other.path());
        }
    }
    Ok(())
}

fn note(dir: &Path, validators: &Validators, snapshot: &str) -> Result<(), RegistryError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let current = Current {
        schema: SCHEMA,
        fetched: since.map_or(0, |since| since.as_secs()),
        etag: validators.etag.clone(),
        last_modified: validators.last_modified.clone(),
        snapshot: snapshot.to_owned(),
    };
    let json = serde_json::to_vec(&current).expect("plain fields serialise");
    replace(&dir.join(CURRENT), dir, |out| out.write_all(&json))
}

/// Writes a file whole or not at all.
fn replace(
    path: &Path,
    dir: &Path,
    write: impl FnOnce(&mut NamedTempFile) -> std::io::Result<()>,
) -> Result<(), RegistryError> {
    let failed = |error| RegistryError::io("write", path, error);
    let mut unfinished = NamedTempFile::new_in(dir).map_err(failed)?;
    write(&mut unfinished).map_err(failed)?;
    disk::set_mode(unfinished.as_file(), 0o644).map_err(failed)?;
    unfinished.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}
