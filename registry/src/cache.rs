//! The index on disk, in the shape of cargo's local registry, and what is known of each document.
//!
//! `<store>/index-<key>/index/se/rd/serde` holds the entry as the registry sent it, so that the
//! directory can be mounted into a sandbox as it is. `<store>/index-meta-<key>/` holds, beside it,
//! when and with which validators each document came. `<key>` is of the registry's address.
//!
//! A document is renamed into place, and its metadata names its checksum: whatever happens in
//! between, and whoever writes at the same time, metadata never vouches for another document.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::disk;
use crate::error::RegistryError;
use crate::http::Validators;

/// The version of the metadata's format; another one is as good as none.
const SCHEMA: u32 = 1;

/// The cached documents of one registry.
#[derive(Debug, Clone)]
pub(crate) struct IndexCache {
    local_registry: PathBuf,
    meta: PathBuf,
}

/// A document on disk.
#[derive(Debug)]
pub(crate) struct Cached {
    /// `None` where the registry said that there is no such document.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) validators: Validators,
    pub(crate) fetched: SystemTime,
}

impl Cached {
    /// Whether it is younger than `max_age`. A date in the future is no reason to believe it.
    pub(crate) fn is_fresh(&self, max_age: Duration, now: SystemTime) -> bool {
        now.duration_since(self.fetched)
            .is_ok_and(|age| age < max_age)
    }
}

#[derive(Serialize, Deserialize)]
struct Meta {
    schema: u32,
    /// Seconds since 1970.
    fetched: u64,
    etag: Option<String>,
    last_modified: Option<String>,
    /// SHA-256 of the document; `None` where there is none.
    sha256: Option<String>,
}

impl IndexCache {
    pub(crate) fn open(store: &Path, index_address: &str) -> Result<Self, RegistryError> {
        let key = &disk::sha256_hex(index_address.as_bytes())[..16];
        let cache = Self {
            local_registry: store.join(format!("index-{key}")),
            meta: store.join(format!("index-meta-{key}")),
        };
        disk::create_dirs(&cache.local_registry.join("index"))?;
        disk::create_dirs(&cache.meta)?;
        Ok(cache)
    }

    /// The directory for cargo's `local-registry`.
    pub(crate) fn local_registry(&self) -> &Path {
        &self.local_registry
    }

    /// The document at `path`, with its metadata; `None` where either is missing or they do not
    /// belong together.
    pub(crate) fn load(&self, path: &str) -> Result<Option<Cached>, RegistryError> {
        let Some(meta) = read(&self.meta_file(path))? else {
            return Ok(None);
        };
        let Ok(meta) = serde_json::from_slice::<Meta>(&meta) else {
            return Ok(None);
        };
        let body = read(&self.body_file(path))?;
        if meta.schema != SCHEMA || meta.sha256 != body.as_deref().map(disk::sha256_hex) {
            return Ok(None);
        }
        Ok(Some(Cached {
            body,
            validators: Validators {
                etag: meta.etag,
                last_modified: meta.last_modified,
            },
            fetched: UNIX_EPOCH + Duration::from_secs(meta.fetched),
        }))
    }

    /// Keeps a document that just came.
    pub(crate) fn save(
        &self,
        path: &str,
        body: &[u8],
        validators: &Validators,
        now: SystemTime,
    ) -> Result<(), RegistryError> {
        self.replace(&self.body_file(path), body)?;
        self.confirm(path, body, validators, now)
    }

    /// Notes that the registry has no such document, and drops the one that it had.
    pub(crate) fn save_missing(&self, path: &str, now: SystemTime) -> Result<(), RegistryError> {
        let body = self.body_file(path);
        match fs::remove_file(&body) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(RegistryError::io("remove", &body, error))
            }
            _ => self.note(path, None, &Validators::default(), now),
        }
    }

    /// Notes that the document is still the registry's.
    pub(crate) fn confirm(
        &self,
        path: &str,
        body: &[u8],
        validators: &Validators,
        now: SystemTime,
    ) -> Result<(), RegistryError> {
        self.note(path, Some(body), validators, now)
    }

    fn note(
        &self,
        path: &str,
        body: Option<&[u8]>,
        validators: &Validators,
        now: SystemTime,
    ) -> Result<(), RegistryError> {
        let meta = Meta {
            schema: SCHEMA,
            fetched: now
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            etag: validators.etag.clone(),
            last_modified: validators.last_modified.clone(),
            sha256: body.map(disk::sha256_hex),
        };
        let json = serde_json::to_vec(&meta).expect("plain fields serialise");
        self.replace(&self.meta_file(path), &json)
    }

    fn body_file(&self, path: &str) -> PathBuf {
        self.local_registry.join("index").join(path)
    }

    fn meta_file(&self, path: &str) -> PathBuf {
        self.meta.join(format!("{path}.json"))
    }

    /// Writes a file whole or not at all. The unfinished file is kept out of the directory that
    /// sandboxes see.
    fn replace(&self, file: &Path, contents: &[u8]) -> Result<(), RegistryError> {
        let parent = file.parent().expect("every document is in a directory");
        disk::create_dirs(parent)?;
        let failed = |error| RegistryError::io("write", file, error);
        let mut unfinished = tempfile::NamedTempFile::new_in(&self.meta).map_err(failed)?;
        unfinished.write_all(contents).map_err(failed)?;
        disk::set_mode(unfinished.as_file(), 0o644).map_err(failed)?;
        unfinished
            .persist(file)
            .map_err(|error| failed(error.error))?;
        Ok(())
    }
}

fn read(file: &Path) -> Result<Option<Vec<u8>>, RegistryError> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RegistryError::io("read", file, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_vouches_only_for_its_own_document() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = IndexCache::open(dir.path(), "http://h/").expect("opens");
        let validators = Validators {
            etag: Some("\"1\"".to_owned()),
            last_modified: None,
        };
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        cache
            .save("se/rd/serde", b"one", &validators, now)
            .expect("saves");
        let cached = cache.load("se/rd/serde").expect("loads").expect("is there");
        assert_eq!(
            (cached.body.as_deref(), cached.validators),
            (Some(&b"one"[..]), validators)
        );
        let file = cache.local_registry().join("index/se/rd/serde");
        fs::write(&file, b"two").expect("writes");
        assert!(cache.load("se/rd/serde").expect("loads").is_none());
        cache.save_missing("se/rd/serde", now).expect("saves");
        assert!(!file.exists());
        let cached = cache.load("se/rd/serde").expect("loads").expect("is there");
        assert_eq!((cached.body, cached.fetched), (None, now));
    }

    #[test]
    fn freshness_needs_a_date_in_the_past() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let cached = Cached {
            body: None,
            validators: Validators::default(),
            fetched: at(100),
        };
        let hour = Duration::from_secs(3600);
        for (now, fresh) in [(100, true), (3699, true), (3700, false), (99, false)] {
            assert_eq!(cached.is_fresh(hour, at(now)), fresh, "{now}");
        }
        assert!(!cached.is_fresh(Duration::ZERO, at(100)));
    }
}
