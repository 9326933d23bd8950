//! The sources of releases on disk: each downloaded once, checked, and unpacked for good.
//!
//! `<store>/sources/<name>-<version>-<16 digits of the checksum>/` is there only when it is whole:
//! it is unpacked beside under another name and renamed. It is read-only, readable for every user,
//! and a package for cargo's directory source. Several processes may share a store: whoever
//! renames first wins, and the others take that.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ejecta_core::krate::Release;
use fs_err as fs;
use tokio::sync::Semaphore;

use crate::config::CrateLimits;
use crate::disk;
use crate::error::{Broken, RegistryError, SourceError};
use crate::flight::Flights;
use crate::registry::{Registry, unblocked};
use crate::unpack::{UnpackError, unpack};

/// What unfinished directories are called. No crate's name begins with a dot.
const UNFINISHED: &str = ".unfinished-";

/// The store of a registry's sources. Clones share everything.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    sources: PathBuf,
    turns: Semaphore,
    flights: Flights<StoredSource, SourceError>,
    /// Held shared while the store is in use: unfinished directories are somebody's.
    _in_use: File,
}

/// A release's source in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSource {
    /// The release.
    pub release: Release,
    /// The directory with its `Cargo.toml` and `.cargo-checksum.json`, absolute where the store's
    /// is, and read-only.
    pub path: PathBuf,
}

impl Store {
    /// Opens the store in `dir`, made if it is not there, and removes what a crash left
    /// unfinished, unless another process has the store open.
    ///
    /// # Errors
    /// [`RegistryError::Io`].
    pub fn open(dir: &Path, registry: Registry) -> Result<Self, RegistryError> {
        let sources = dir.join("sources");
        disk::create_dirs(&sources)?;
        let in_use = lock(&dir.join("sources.lock"), &sources)?;
        let turns = Semaphore::new(registry.config().download_concurrency.max(1));
        Ok(Self {
            inner: Arc::new(Inner {
                registry,
                sources,
                turns,
                flights: Flights::new(SourceError::class),
                _in_use: in_use,
            }),
        })
    }

    /// The registry that sources come from.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The directory that holds the sources, for mounting it read-only.
    pub fn sources_dir(&self) -> &Path {
        &self.inner.sources
    }

    /// The source of a release: from the store, or downloaded, checked and unpacked now.
    ///
    /// # Errors
    /// [`SourceError::Broken`] when the release itself is at fault, else
    /// [`SourceError::Registry`].
    pub async fn source(&self, release: &Release) -> Result<StoredSource, SourceError> {
        let directory = directory_name(release);
        let path = self.inner.sources.join(&directory);
        let work = async {
            let (_turn, place) = (self.inner.turns.acquire().await, path.clone());
            if unblocked(move || place.is_dir()).await {
                self.counters().download_cache_hits.add(1);
            } else {
                self.fetch(release, path.clone()).await?;
            }
            Ok(StoredSource {
                release: release.clone(),
                path: path.clone(),
            })
        };
        self.inner.flights.run(&directory, work).await
    }

    async fn fetch(&self, release: &Release, path: PathBuf) -> Result<(), SourceError> {
        let broken = |why| SourceError::Broken {
            name: release.name.clone(),
            version: release.version.clone(),
            why,
        };
        let limits = self.inner.registry.config().crate_limits.clone();
        let file = match self.download(release, limits.packed_bytes).await? {
            Ok(file) => file,
            Err(why) => return Err(broken(why)),
        };
        let (sources, owned) = (self.inner.sources.clone(), release.clone());
        let place = path.clone();
        let unpacked =
            unblocked(move || unpack_into_place(file, &owned, &sources, &place, &limits)).await;
        match unpacked {
            Ok(()) => Ok(()),
            Err(UnpackError::Write { path, source }) => {
                Err(RegistryError::io("write", &path, source).into())
            }
            Err(error) => Err(broken(Broken::Unpack(Arc::new(error)))),
        }
    }

    /// The `.crate` file, checked.
    async fn download(
        &self,
        release: &Release,
        limit: u64,
    ) -> Result<Result<File, Broken>, RegistryError> {
        let url = self.inner.registry.download_url(release).await?;
        let http = self.inner.registry.http();
        let downloaded = match http.file(&url, &self.inner.sources, limit).await {
            Err(RegistryError::TooLong { limit, .. }) => {
                return Ok(Err(Broken::TooLarge { limit }));
            }
            other => other?,
        };
        if downloaded.sha256 == release.checksum.as_str() {
            return Ok(Ok(downloaded.file));
        }
        Ok(Err(Broken::Checksum {
            expected: release.checksum.to_string(),
            found: downloaded.sha256,
        }))
    }

    fn counters(&self) -> &crate::traffic::Counters {
        &self.inner.registry.http().counters
    }
}

/// The directory of a release in the store: safe as one component of a path.
fn directory_name(release: &Release) -> String {
    let checksum = &release.checksum.as_str()[..16];
    format!("{}-{}-{checksum}", release.name, release.version)
}

fn unpack_into_place(
    file: File,
    release: &Release,
    sources: &Path,
    place: &Path,
    limits: &CrateLimits,
) -> Result<(), UnpackError> {
    let failed = |source| UnpackError::Write {
        path: place.to_owned(),
        source,
    };
    let unfinished = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(sources)
        .map_err(failed)?;
    // From here on it is removed by hand: its directories may be read-only.
    let unfinished = unfinished.keep();
    let top = format!("{}-{}", release.name, release.version);
    let reader = io::BufReader::new(file);
    let package = release.checksum.as_str();
    let result = unpack(reader, &top, &unfinished, package, limits)
        .and_then(|()| fs::rename(&unfinished, place).map_err(failed));
    if result.is_ok() {
        return Ok(());
    }
    if let Err(error) = disk::remove_tree(&unfinished) {
        tracing::warn!(%error, "an unfinished source stays in the store until the next start");
    }
    // Another process was faster, and has the same.
    let is_there = matches!(result, Err(UnpackError::Write { .. })) && place.is_dir();
    if is_there { Ok(()) } else { result }
}

/// Marks the store as in use. Nobody else uses it: what is unfinished is nobody's, remove it.
fn lock(file: &Path, sources: &Path) -> Result<File, RegistryError> {
    let failed = |error| RegistryError::io("lock", file, error);
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let (lock, _) = options.open(file).map_err(failed)?.into_parts();
    if lock.try_lock().is_ok() {
        let removed = remove_unfinished(sources);
        removed.map_err(|error| RegistryError::io("clean up", sources, error))?;
        lock.unlock().map_err(failed)?;
    }
    lock.lock_shared().map_err(failed)?;
    Ok(lock)
}

fn remove_unfinished(sources: &Path) -> io::Result<()> {
    for entry in fs::read_dir(sources)? {
        let entry = entry?;
        let unfinished = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(UNFINISHED));
        if unfinished && entry.file_type()?.is_dir() {
            disk::remove_tree(&entry.path())?;
        }
    }
    Ok(())
}
