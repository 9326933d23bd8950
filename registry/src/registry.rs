//! The client of a sparse index: each entry asked for at most once in a process, and not at all
//! while the one on disk is young.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ejecta_core::krate::{CrateName, CrateRef, Release};
use futures_util::future::join_all;
use serde::Deserialize;
use tokio::sync::{OnceCell, Semaphore};

use crate::cache::{Cached, IndexCache};
use crate::config::RegistryConfig;
use crate::entry::IndexEntry;
use crate::error::RegistryError;
use crate::flight::Flights;
use crate::http::{Answer, Http, Validators};
use crate::paths;
use crate::traffic::Traffic;

/// The document of the index that says where downloads are.
const CONFIG: &str = "config.json";

/// A registry, with the part of its index that is on disk. Clones share everything.
///
/// What it once answered it does not ask again, so that a run sees one state of the index: a
/// process that lives long opens one for each experiment.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

/// A release as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The release.
    pub release: Release,
    /// Whether its author withdrew it; only one that was asked for by version is.
    pub yanked: bool,
}

#[derive(Debug)]
struct Inner {
    config: RegistryConfig,
    address: String,
    store: PathBuf,
    http: Http,
    cache: IndexCache,
    requests: Semaphore,
    entries: Flights<Option<Arc<IndexEntry>>, RegistryError>,
    downloads: OnceCell<DownloadConfig>,
}

/// `config.json`; other keys (`api`) are not our business.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DownloadConfig {
    dl: String,
    #[serde(default, rename = "auth-required")]
    auth_required: bool,
}

impl DownloadConfig {
    /// The server of downloads, without the path of any.
    pub(crate) fn server(&self) -> Option<reqwest::Url> {
        let mut url = reqwest::Url::parse(&self.dl).ok()?;
        url.set_path("/");
        url.set_query(None);
        url.set_fragment(None);
        matches!(url.scheme(), "http" | "https").then_some(url)
    }
}

/// Why the body of a successful answer is no document of an index, where that is plain.
fn no_document(body: &[u8]) -> Option<String> {
    let is_page = body.trim_ascii_start().starts_with(b"<");
    is_page.then(|| "it is a web page, no document of a sparse index".to_owned())
}

impl Registry {
    /// Opens the registry with its cache below `store`. Makes no request.
    ///
    /// # Errors
    /// [`RegistryError::Setup`] for an address that is no sparse index's, [`RegistryError::Io`]
    /// when the cache's directories cannot be made.
    pub fn open(store: &Path, config: RegistryConfig) -> Result<Self, RegistryError> {
        let address = config.index_address();
        let inner = Inner {
            store: store.to_owned(),
            http: Http::new(&address, config.retry.clone(), config.token.as_ref())?,
            cache: IndexCache::open(store, &address)?,
            requests: Semaphore::new(config.index_concurrency.max(1)),
            entries: Flights::new(RegistryError::class),
            downloads: OnceCell::new(),
            address,
            config,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The address of the index, without `sparse+`, with a slash at the end.
    pub fn address(&self) -> &str {
        &self.inner.address
    }

    /// The directory for cargo's `local-registry` source: `index/` of it grows with each entry
    /// that is fetched. Readable for every user; written only by this type.
    pub fn local_registry_dir(&self) -> &Path {
        self.inner.cache.local_registry()
    }

    /// What was asked of the registry so far.
    pub fn traffic(&self) -> Traffic {
        self.inner.http.counters.snapshot()
    }

    /// The entry of a crate that a person named, in whatever spelling.
    ///
    /// # Errors
    /// [`RegistryError::UnknownCrate`] when the registry has it in no spelling, or a
    /// [`RegistryError`] of the request.
    pub async fn entry(&self, name: &CrateName) -> Result<Arc<IndexEntry>, RegistryError> {
        for spelling in paths::spellings(name) {
            let spelling = CrateName::new(spelling).expect("a respelled name stays a name");
            if let Some(entry) = self.exact_entry(&spelling).await? {
                return Ok(entry);
            }
        }
        Err(RegistryError::UnknownCrate { name: name.clone() })
    }

    /// The release that `wanted` means: the exact version, or the newest.
    ///
    /// # Errors
    /// As [`Registry::choose`].
    pub async fn release(&self, wanted: &CrateRef) -> Result<Release, RegistryError> {
        Ok(self.choose(wanted).await?.release)
    }

    /// The same, with what is to be said of it.
    ///
    /// # Errors
    /// As [`Registry::entry`], and [`RegistryError::UnknownVersion`] or
    /// [`RegistryError::NoRelease`].
    pub async fn choose(&self, wanted: &CrateRef) -> Result<Chosen, RegistryError> {
        let entry = self.entry(&wanted.name).await?;
        let found = match &wanted.version {
            Some(version) => {
                let unknown = || RegistryError::UnknownVersion {
                    name: entry.name.clone(),
                    version: version.clone(),
                    newest: entry.newest().map(|newest| newest.version.clone()),
                };
                entry.exact(version).ok_or_else(unknown)?
            }
            None => {
                let name = entry.name.clone();
                entry.newest().ok_or(RegistryError::NoRelease { name })?
            }
        };
        Ok(Chosen {
            release: entry.release(found),
            yanked: found.yanked,
        })
    }

    /// Puts the entries of exactly these names into the local registry, as cargo asks for them.
    /// Names that the registry does not have are given back.
    ///
    /// # Errors
    /// The first [`RegistryError`] of a request.
    pub async fn fetch_entries(
        &self,
        names: &[CrateName],
    ) -> Result<Vec<CrateName>, RegistryError> {
        let found = join_all(names.iter().map(|name| self.exact_entry(name))).await;
        let mut unknown = Vec::new();
        for (name, found) in names.iter().zip(found) {
            if found?.is_none() {
                unknown.push(name.clone());
            }
        }
        Ok(unknown)
    }

    /// The entry of a name as it is spelled (without case), if the registry has it.
    pub(crate) async fn exact_entry(
        &self,
        name: &CrateName,
    ) -> Result<Option<Arc<IndexEntry>>, RegistryError> {
        let path = paths::index_path(name.as_str());
        let read = async {
            if self.http().has_token() {
                // Says whether the index wants it.
                self.downloads().await?;
            }
            let Some(body) = self.document(&path).await? else {
                return Ok(None);
            };
            if let Some(why) = no_document(&body) {
                let url = format!("{}{path}", self.inner.address);
                return Err(RegistryError::Unreadable { url, why });
            }
            Ok(IndexEntry::parse(name, &body).map(Arc::new))
        };
        self.inner.entries.run(&path, read).await
    }

    /// Where the `.crate` of a release is.
    pub(crate) async fn download_url(&self, release: &Release) -> Result<String, RegistryError> {
        Ok(paths::download_url(&self.downloads().await?.dl, release))
    }

    /// Makes sure that the address is that of a sparse index: that of something else has no crates
    /// either.
    ///
    /// # Errors
    /// [`RegistryError::Unreadable`] when it is something else, or a [`RegistryError`] of the
    /// request.
    pub async fn check(&self) -> Result<(), RegistryError> {
        self.downloads().await.map(|_| ())
    }

    /// `config.json`.
    pub(crate) async fn downloads(&self) -> Result<&DownloadConfig, RegistryError> {
        let read = || self.download_config();
        self.inner.downloads.get_or_try_init(read).await
    }

    async fn download_config(&self) -> Result<DownloadConfig, RegistryError> {
        let url = format!("{}{CONFIG}", self.inner.address);
        let unreadable = |why: String| RegistryError::Unreadable {
            url: url.clone(),
            why,
        };
        let body = match self.document(CONFIG).await {
            // The index itself may be closed.
            Err(RegistryError::Status {
                status: 401 | 403, ..
            }) if self.http().has_token() => {
                let limit = self.inner.config.max_entry_bytes;
                match self.http().document_with_token(&url, limit).await? {
                    Answer::Found { body, .. } => Some(body),
                    Answer::NotModified | Answer::Missing => None,
                }
            }
            other => other?,
        };
        let Some(body) = body else {
            return Err(unreadable("it is not there: no sparse index".to_owned()));
        };
        if let Some(why) = no_document(&body) {
            return Err(unreadable(why));
        }
        let config: DownloadConfig =
            serde_json::from_slice(&body).map_err(|error| unreadable(error.to_string()))?;
        if config.auth_required {
            if !self.http().has_token() {
                return Err(RegistryError::LoginNeeded { url });
            }
            self.http().require_token(config.server().as_ref());
        }
        Ok(config)
    }

    /// A document of the index: from the disk while it is young, else from the registry.
    async fn document(&self, path: &str) -> Result<Option<Vec<u8>>, RegistryError> {
        let _turn = self.inner.requests.acquire().await;
        let known = self.on_disk(path, |cache, path| cache.load(&path)).await?;
        let config = &self.inner.config;
        let max_age = |cached: &Cached| match cached.body {
            Some(_) => config.max_age,
            None => config.max_missing_age,
        };
        let known = match known {
            Some(cached) if cached.is_fresh(max_age(&cached), SystemTime::now()) => {
                self.http().counters.index_cache_hits.add(1);
                return Ok(cached.body);
            }
            stale => stale.and_then(|cached| Some((cached.body?, cached.validators))),
        };
        let url = format!("{}{path}", self.inner.address);
        let nothing = Validators::default();
        let validators = known
            .as_ref()
            .map_or(&nothing, |(_, validators)| validators);
        let limit = self.inner.config.max_entry_bytes;
        let answer = self.http().document(&url, validators, limit).await?;
        let now = SystemTime::now();
        match (answer, known) {
            (Answer::Missing, _) => {
                let save = move |cache: IndexCache, path: String| cache.save_missing(&path, now);
                self.on_disk(path, save).await?;
                Ok(None)
            }
            (Answer::Found { body, validators }, _) => {
                let save = move |cache: IndexCache, path: String| {
                    cache.save(&path, &body, &validators, now).map(|()| body)
                };
                self.on_disk(path, save).await.map(Some)
            }
            (Answer::NotModified, Some((body, validators))) => {
                let confirm = move |cache: IndexCache, path: String| {
                    cache.confirm(&path, &body, &validators, now).map(|()| body)
                };
                self.on_disk(path, confirm).await.map(Some)
            }
            (Answer::NotModified, None) => Err(RegistryError::Unreadable {
                url,
                why: "not modified since nothing".to_owned(),
            }),
        }
    }

    /// Runs a piece of work on the cache where blocking is allowed.
    async fn on_disk<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(IndexCache, String) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let (cache, path) = (self.inner.cache.clone(), path.to_owned());
        unblocked(move || work(cache, path)).await
    }

    pub(crate) fn http(&self) -> &Http {
        &self.inner.http
    }

    /// The directory that everything of the registry is kept in.
    pub(crate) fn store(&self) -> &Path {
        &self.inner.store
    }

    pub(crate) fn config(&self) -> &RegistryConfig {
        &self.inner.config
    }
}

/// Runs blocking work on the runtime's threads for it.
pub(crate) async fn unblocked<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // The work panicked: so does who asked for it. Blocking work is never cancelled once begun.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
