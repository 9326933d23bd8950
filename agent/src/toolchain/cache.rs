//! Where the compilers of commits are kept: one directory each, shared by all processes of this
//! machine, bounded in size.
//!
//! ```text
//! SHA/               the toolchain, with `.ejecta.json`: which parts it has, and how large it is
//! SHA.downloads/     archives on their way
//! SHA.new/           what is being unpacked
//! SHA.old/           what is being removed
//! SHA.lock           held by whoever changes any of these
//! SHA.use            held, shared, by whoever uses the toolchain; its time is that of the last use
//! ```
//!
//! A lock of a dead process is free, so that nothing has to be cleaned up by hand. This module
//! knows nothing of servers.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ejecta_core::git::Commit;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::archive::make_dirs;

/// The version of `.ejecta.json`; a toolchain with another one is installed anew.
const SCHEMA: u32 = 1;
/// The file in a toolchain's directory that says what is in it.
const CONTENTS: &str = ".ejecta.json";

/// What a toolchain's directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contents {
    schema: u32,
    /// The channel in the archives' names: `nightly`, or of a release branch `beta` or `stable`.
    pub(super) channel: String,
    /// Names of the archives that were unpacked, without channel: `rustc`, `rust-std-TARGET`.
    pub(super) parts: Vec<String>,
    /// Bytes of all files.
    pub(super) bytes: u64,
}

impl Contents {
    pub(super) fn new(channel: &str) -> Self {
        Self {
            schema: SCHEMA,
            channel: channel.to_owned(),
            parts: Vec::new(),
            bytes: 0,
        }
    }
}

/// A toolchain that somebody uses: it is not removed while this lives.
#[derive(Debug, Clone)]
pub struct InUse(#[expect(dead_code, reason = "a lock that is held")] Arc<File>);

/// The directory of all.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    dir: PathBuf,
    max_bytes: u64,
}

/// One commit's place, which nobody else changes meanwhile.
pub(super) struct Place {
    cache: Cache,
    sha: String,
    _lock: File,
}

impl Cache {
    pub(super) fn new(dir: PathBuf, max_bytes: u64) -> Self {
        Self { dir, max_bytes }
    }

    /// Waits until nobody else changes the place of `sha`, and takes it. Blocks.
    pub(super) fn take(&self, sha: &Commit) -> io::Result<Place> {
        make_dirs(&self.dir)?;
        let lock = open(&self.path(sha.as_str(), ".lock"))?;
        if lock.try_lock().is_err() {
            tracing::info!(%sha, "waiting for another process that installs the same toolchain");
            lock.lock()?;
        }
        let place = Place {
            cache: self.clone(),
            sha: sha.to_string(),
            _lock: lock,
        };
        // Of a process that died in the middle.
        remove_tree(&self.path(&place.sha, ".new"))?;
        remove_tree(&self.path(&place.sha, ".old"))?;
        Ok(place)
    }

    /// What is kept of `sha` at this moment.
    pub(super) fn contents(&self, sha: &Commit) -> Option<Contents> {
        read_contents(&self.path(sha.as_str(), ""))
    }

    /// Removes what was used longest ago, and is not in use, until the rest fits. Blocks.
    pub(super) fn shrink(&self) -> io::Result<()> {
        let mut kept = self.kept()?;
        kept.sort_by_key(|kept| kept.used);
        let mut bytes: u64 = kept.iter().map(|kept| kept.bytes).sum();
        for oldest in &kept {
            if bytes <= self.max_bytes {
                return Ok(());
            }
            if self.remove(&oldest.sha)? {
                tracing::info!(
                    sha = oldest.sha,
                    bytes = oldest.bytes,
                    "removed a toolchain"
                );
                bytes -= oldest.bytes;
            }
        }
        if bytes > self.max_bytes {
            let max_bytes = self.max_bytes;
            tracing::warn!(
                bytes,
                max_bytes,
                "the toolchains in use are larger than their cache"
            );
        }
        Ok(())
    }

    /// Removes what there is of a commit, unless somebody uses or changes it.
    fn remove(&self, sha: &str) -> io::Result<bool> {
        let lock = open(&self.path(sha, ".lock"))?;
        let in_use = open(&self.path(sha, ".use"))?;
        if lock.try_lock().is_err() || in_use.try_lock().is_err() {
            return Ok(false);
        }
        let (dir, old) = (self.path(sha, ""), self.path(sha, ".old"));
        remove_tree(&old)?;
        if dir.exists() {
            // Half a toolchain must never have a whole one's name.
            fs::rename(&dir, &old)?;
        }
        remove_tree(&old)?;
        remove_tree(&self.path(sha, ".downloads"))?;
        Ok(true)
    }

    fn kept(&self) -> io::Result<Vec<Kept>> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            let Some(sha) = name.strip_suffix(".lock") else {
                continue;
            };
            let contents = read_contents(&self.path(sha, ""));
            let used = std::fs::metadata(self.path(sha, ".use")).and_then(|meta| meta.modified());
            kept.push(Kept {
                sha: sha.to_owned(),
                bytes: contents.map_or(0, |contents| contents.bytes)
                    + files_in(&self.path(sha, ".downloads")),
                used: used.unwrap_or(SystemTime::UNIX_EPOCH),
            });
        }
        kept.retain(|kept| kept.bytes > 0);
        Ok(kept)
    }

    fn path(&self, sha: &str, ending: &str) -> PathBuf {
        self.dir.join(format!("{sha}{ending}"))
    }
}

struct Kept {
    sha: String,
    bytes: u64,
    used: SystemTime,
}

impl Place {
    /// The toolchain's directory.
    pub(super) fn dir(&self) -> PathBuf {
        self.cache.path(&self.sha, "")
    }

    /// What it holds, if it is there and whole.
    pub(super) fn contents(&self) -> Option<Contents> {
        read_contents(&self.dir())
    }

    /// Where archives are downloaded to.
    pub(super) fn downloads(&self) -> io::Result<PathBuf> {
        let dir = self.cache.path(&self.sha, ".downloads");
        make_dirs(&dir)?;
        Ok(dir)
    }

    /// A directory for what is being unpacked, empty at first.
    pub(super) fn unpacking(&self, part: &str) -> io::Result<PathBuf> {
        let dir = self.cache.path(&self.sha, ".new").join(part);
        remove_tree(&dir)?;
        make_dirs(&dir)?;
        Ok(dir)
    }

    /// Puts unpacked directories into the toolchain's, and says what it holds now. A toolchain that
    /// was not there comes into being at once, with all that was unpacked.
    pub(super) fn add(&self, unpacked: &[PathBuf], contents: &Contents) -> io::Result<()> {
        let dir = self.dir();
        let is_new = self.contents().is_none();
        let target = if is_new {
            remove_tree(&dir)?;
            self.unpacking("whole")?
        } else {
            dir.clone()
        };
        for part in unpacked {
            merge(part, &target)?;
        }
        let json = serde_json::to_vec(contents).expect("plain fields serialise");
        let mut file = tempfile::NamedTempFile::new_in(&target)?;
        file.write_all(&json)?;
        file.persist(target.join(CONTENTS)).map_err(|e| e.error)?;
        if is_new {
            fs::rename(&target, &dir)?;
        }
        remove_tree(&self.cache.path(&self.sha, ".new"))
    }

    /// Drops the archives: they are unpacked.
    pub(super) fn drop_downloads(&self) -> io::Result<()> {
        remove_tree(&self.cache.path(&self.sha, ".downloads"))
    }

    /// Marks the toolchain as used, now and for as long as the answer lives.
    pub(super) fn used(&self) -> io::Result<InUse> {
        let mut file = open(&self.cache.path(&self.sha, ".use"))?;
        // Nobody holds it alone but who has the lock that we have.
        file.lock_shared()?;
        // Writing sets its time.
        file.set_len(0)?;
        file.write_all(b"used\n")?;
        Ok(InUse(Arc::new(file)))
    }
}

fn read_contents(dir: &Path) -> Option<Contents> {
    let json = std::fs::read(dir.join(CONTENTS)).ok()?;
    let contents: Contents = serde_json::from_slice(&json).ok()?;
    (contents.schema == SCHEMA).then_some(contents)
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = std::fs::OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    options
        .open(path)
        .map_err(|e| io::Error::new(e.kind(), format!("open `{}`: {e}", path.display())))
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn files_in(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| Some(entry.metadata().ok()?.len()));
    sizes.sum()
}

/// Moves what is in `from` into `to`, file by file; one that is there already is replaced. Nothing
/// is followed: a link where a directory is needed is an error.
fn merge(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if !entry.file_type()?.is_dir() {
            fs::rename(entry.path(), target)?;
            continue;
        }
        match fs::symlink_metadata(&target) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => {
                let text = format!("`{}` is no directory", target.display());
                return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
            }
            Err(_) => make_dirs(&target)?,
        }
        merge(&entry.path(), &target)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sha(digit: char) -> Commit {
        Commit::new(&digit.to_string().repeat(40)).expect("a commit")
    }

    /// Puts a toolchain of `bytes` there, last used `age` seconds ago.
    fn put(cache: &Cache, digit: char, bytes: u64, age: u64) -> InUse {
        let place = cache.take(&sha(digit)).expect("free");
        let part = place.unpacking("part").expect("writable");
        make_dirs(&part.join("bin")).expect("writable");
        fs::write(part.join("bin/rustc"), "x").expect("writable");
        let contents = Contents {
            bytes,
            ..Contents::new("nightly")
        };
        place.add(&[part], &contents).expect("writable");
        let used = place.used().expect("writable");
        let file = open(&cache.path(&place.sha, ".use")).expect("there");
        let now = file.metadata().and_then(|m| m.modified()).expect("a time");
        file.set_modified(now - Duration::from_secs(age))
            .expect("settable");
        used
    }

    fn there(cache: &Cache, digit: char) -> bool {
        cache.path(sha(digit).as_str(), "").exists()
    }

    #[test]
    fn the_least_recently_used_goes_and_never_one_in_use() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache::new(dir.path().to_owned(), 25);
        drop(put(&cache, 'a', 10, 30));
        let held = put(&cache, 'b', 10, 40);
        drop(put(&cache, 'c', 10, 20));
        cache.shrink().expect("shrinks");
        assert!(!there(&cache, 'a'), "the oldest that nobody uses");
        assert!(there(&cache, 'b') && there(&cache, 'c'));
        let cache = Cache::new(dir.path().to_owned(), 5);
        cache.shrink().expect("shrinks");
        assert!(there(&cache, 'b') && !there(&cache, 'c'));
        drop(held);
        cache.shrink().expect("shrinks");
        assert!(!there(&cache, 'b'));
    }

    #[test]
    fn a_part_joins_a_toolchain_that_is_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache::new(dir.path().to_owned(), 100);
        let _used = put(&cache, 'a', 1, 0);
        let place = cache.take(&sha('a')).expect("free");
        let part = place.unpacking("clippy").expect("writable");
        make_dirs(&part.join("bin")).expect("writable");
        fs::write(part.join("bin/cargo-clippy"), "x").expect("writable");
        let mut contents = place.contents().expect("there");
        contents.parts.push("clippy".to_owned());
        place.add(&[part], &contents).expect("joins");
        assert!(place.dir().join("bin/rustc").is_file());
        assert!(place.dir().join("bin/cargo-clippy").is_file());
        assert_eq!(place.contents(), Some(contents));
    }

    #[test]
    fn what_a_dead_process_left_is_not_taken_for_a_toolchain() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache::new(dir.path().to_owned(), 100);
        let half = cache.path(sha('a').as_str(), "");
        make_dirs(&half.join("bin")).expect("writable");
        fs::write(half.join("bin/old"), "x").expect("writable");
        make_dirs(&cache.path(sha('a').as_str(), ".new")).expect("writable");
        let place = cache.take(&sha('a')).expect("free");
        assert_eq!(place.contents(), None);
        drop(place);
        let _used = put(&cache, 'a', 1, 0);
        assert!(half.join("bin/rustc").is_file() && !half.join("bin/old").exists());
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        make_dirs(&from.join("lib")).expect("writable");
        fs::write(from.join("lib/x"), "x").expect("writable");
        make_dirs(&to).expect("writable");
        std::os::unix::fs::symlink(dir.path(), to.join("lib")).expect("writable");
        let e = merge(&from, &to).expect_err("a link in the way");
        assert!(e.to_string().contains("no directory"), "{e}");
        assert!(!dir.path().join("x").exists());
    }
}
