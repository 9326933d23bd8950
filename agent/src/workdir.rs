//! The directories of one job on the host: what its sandboxes see, and how they are filled.
//!
//! ```text
//! JOB/ro/source         the crate, with the job's manifest and lockfile    read-only inside
//! JOB/ro/vendor         a link to the store for each dependency            read-only inside
//! JOB/ro/home           cargo's home, of the side that runs                read-only inside
//! JOB/ro/resolve-home   likewise, for resolving                            read-only inside
//! JOB/ro/gitconfig      git's configuration, with the mirrors              read-only inside
//! JOB/home-SIDE         the home of a side whose turn it is not
//! JOB/rw-N              what run N may write
//! ```
//!
//! Files of the store are hard-linked into `source`, not copied: nobody writes there, inside
//! because the mount is read-only, outside because the manifest and the lockfile are replaced and
//! never opened for writing.

mod copy;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use ejecta_core::git::GitUrl;
use ejecta_core::outcome::Side;
use fs_err as fs;

use crate::error::AgentError;
use crate::guest;
use crate::sandbox::{Mount, remove_tree};
use crate::toolchain::Toolchains;
use copy::{Copy, copy_tree, give, make_dir};

pub use copy::copy_to_new;

/// The largest lockfile that is read back, in bytes.
const MAX_LOCKFILE_BYTES: u64 = 16 * 1024 * 1024;

/// The directories of one job. Removed when dropped, as far as that goes; [`JobDir::remove`] says
/// whether it went.
#[derive(Debug)]
pub struct JobDir {
    root: PathBuf,
    runs: u32,
    /// The sides with a home of their own.
    homes: Vec<Side>,
    /// Whose home is in its place; `None`: that of all others.
    home: Option<Side>,
}

impl JobDir {
    /// Makes the directories at `root`, which must not be there.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn create(root: PathBuf) -> Result<Self, AgentError> {
        let dir = Self {
            root,
            runs: 0,
            homes: Vec::new(),
            home: None,
        };
        let make = |path: &Path| make_dir(path).map_err(AgentError::io("make", path));
        make(&dir.root)?;
        for part in ["ro", "ro/source", "ro/vendor", "ro/home", "ro/resolve-home"] {
            make(&dir.root.join(part))?;
        }
        let config = |registry| guest::cargo_config(registry, &[]);
        dir.write("ro/home/config.toml", &config(guest::Registry::Vendor))?;
        dir.write(
            "ro/resolve-home/config.toml",
            &config(guest::Registry::Index),
        )?;
        dir.set_mirrors(&BTreeMap::new())?;
        Ok(dir)
    }

    /// Tells git where the mirrors of repositories are.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn set_mirrors(&self, mirrors: &BTreeMap<GitUrl, String>) -> Result<(), AgentError> {
        let mirrors = mirrors
            .iter()
            .map(|(url, name)| (url.as_str(), name.as_str()));
        self.write("ro/gitconfig", &guest::git_config(mirrors))
    }

    /// Gives a side a home of its own, made by a run.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn keep_home(&mut self, side: Side, run: &RunDir) -> Result<(), AgentError> {
        let place = self.home_of(Some(side));
        fs::rename(run.home(), &place).map_err(AgentError::io("keep", &place))?;
        self.homes.push(side);
        Ok(())
    }

    /// Gives a side a home of its own that holds nothing but a configuration.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn make_home(&mut self, side: Side, config: &str) -> Result<(), AgentError> {
        let place = self.home_of(Some(side));
        make_dir(&place).map_err(AgentError::io("make", &place))?;
        self.write(&format!("home-{side}/config.toml"), config)?;
        self.homes.push(side);
        Ok(())
    }

    /// Puts the home of a side in its place. No step may be running.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn enter_home(&mut self, side: Side) -> Result<(), AgentError> {
        let wanted = self.homes.contains(&side).then_some(side);
        if wanted == self.home {
            return Ok(());
        }
        let place = self.root.join("ro/home");
        let (aside, next) = (self.home_of(self.home), self.home_of(wanted));
        fs::rename(&place, &aside).map_err(AgentError::io("put aside", &place))?;
        fs::rename(&next, &place).map_err(AgentError::io("put in its place", &next))?;
        self.home = wanted;
        Ok(())
    }

    /// Where a home is whose turn it is not.
    fn home_of(&self, side: Option<Side>) -> PathBuf {
        let name = side.map_or("others", Side::name);
        self.root.join(format!("home-{name}"))
    }

    /// The crate's source.
    pub fn source(&self) -> PathBuf {
        self.root.join("ro/source")
    }

    /// Fills the source from a directory of the store.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn link_source(&self, from: &Path) -> Result<(), AgentError> {
        copy_tree(from, &self.source(), &mut Copy::linking()).map_err(AgentError::io("copy", from))
    }

    /// Fills the source from a directory of the user's, without what cargo built there and `.git`.
    ///
    /// # Errors
    /// [`AgentError::Io`], also when there are absurdly many files.
    pub fn copy_source(&self, from: &Path) -> Result<(), AgentError> {
        copy_tree(from, &self.source(), &mut Copy::copying()).map_err(AgentError::io("copy", from))
    }

    /// Reads a file of the source as text; `None` when it is not there.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn read_source(&self, name: &str) -> Result<Option<String>, AgentError> {
        let path = self.source().join(name);
        read_text(&path).map_err(AgentError::io("read", &path))
    }

    /// Replaces a file of the source.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn write_source(&self, name: &str, text: &str) -> Result<(), AgentError> {
        self.write(&format!("ro/source/{name}"), text)
    }

    /// Removes a file of the source, if it is there.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn remove_source(&self, name: &str) -> Result<(), AgentError> {
        let path = self.source().join(name);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(AgentError::io("remove", &path)(e))
            }
            _ => Ok(()),
        }
    }

    /// Replaces a file, never writing through one that is there: it may be a link to the store.
    fn write(&self, name: &str, text: &str) -> Result<(), AgentError> {
        let path = self.root.join(name);
        let replace = || {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            fs::write(&path, text)?;
            fs::set_permissions(&path, PermissionsExt::from_mode(0o644))
        };
        replace().map_err(AgentError::io("write", &path))
    }

    /// Makes the links of the directory source: one for each name of a directory in the store.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn link_dependencies<'a>(
        &self,
        directories: impl Iterator<Item = &'a str>,
    ) -> Result<(), AgentError> {
        let vendor = self.root.join("ro/vendor");
        for directory in directories {
            let link = vendor.join(directory);
            let target = format!("{}/{directory}", guest::SOURCES);
            match symlink(target, &link) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(AgentError::io("link", &link)(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes the writable directory of the next run.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn next_run(&mut self) -> Result<RunDir, AgentError> {
        self.runs += 1;
        let path = self.root.join(format!("rw-{}", self.runs));
        make_dir(&path).map_err(AgentError::io("make", &path))?;
        Ok(RunDir { path })
    }

    /// What sandboxes of this job see.
    /// Of the mirrors only those that are named.
    pub fn mounts<'a>(
        &self,
        run: &RunDir,
        toolchains: &Toolchains,
        shared: &Shared,
        mirrors: impl Iterator<Item = &'a str>,
    ) -> Vec<Mount> {
        let read_only = |host: PathBuf, guest: &str| Mount {
            host,
            guest: guest.to_owned(),
            writable: false,
        };
        let toolchain = |side| {
            read_only(
                toolchains.of(side).place.dir.clone(),
                guest::toolchain(side),
            )
        };
        let mut mounts = Side::BOTH.map(toolchain).to_vec();
        mounts.push(read_only(shared.sources.clone(), guest::SOURCES));
        mounts.push(read_only(shared.index.clone(), guest::INDEX));
        mounts.extend(mirrors.map(|name| {
            let guest = format!("{}/{name}", guest::GIT);
            read_only(shared.mirrors.join(name), &guest)
        }));
        mounts.extend(shared.patches.iter().cloned());
        mounts.push(read_only(self.root.join("ro"), guest::JOB));
        mounts.push(Mount {
            host: run.path.clone(),
            guest: guest::WORK.to_owned(),
            writable: true,
        });
        mounts
    }

    /// Removes everything.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn remove(self) -> Result<(), AgentError> {
        remove_tree(&self.root).map_err(AgentError::io("remove", &self.root))
    }
}

impl Drop for JobDir {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.root) {
            let path = self.root.display();
            tracing::warn!(%path, %error, "left a job's directory behind");
        }
    }
}

/// The directories that all jobs share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The sources of the store.
    pub sources: PathBuf,
    /// The index, as a local registry.
    pub index: PathBuf,
    /// The mirrors of git repositories.
    pub mirrors: PathBuf,
    /// The patched libraries.
    pub patches: Vec<Mount>,
}

/// What one run may write.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The `CARGO_HOME` that the run may write.
    fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    /// Makes a `CARGO_HOME` that the run may write.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn make_home(&self, config: &str, user: (u32, u32)) -> Result<(), AgentError> {
        let home = self.home();
        let make = || {
            if !home.is_dir() {
                make_dir(&home)?;
                give(&home, user)?;
            }
            let file = home.join("config.toml");
            match std::fs::remove_file(&file) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            fs::write(&file, config)?;
            give(&file, user)
        };
        make().map_err(AgentError::io("fill", &home))
    }

    /// Puts packages for resolving into it: the manifests in these directories of the source, and
    /// a link for all else, so that cargo finds the targets that the manifests name, and can write
    /// the lockfile in the directory `root`.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn prepare_resolve<'a>(
        &self,
        source: &Path,
        manifests: impl Iterator<Item = &'a str>,
        root: &str,
        lockfile: Option<&str>,
        user: (u32, u32),
    ) -> Result<(), AgentError> {
        let dir = self.path.join("resolve");
        let manifests: BTreeSet<&str> = manifests.collect();
        let fill = || {
            mirror_dir(source, &dir, "", &manifests)?;
            if let Some(lockfile) = lockfile {
                self.put_lockfile(root, lockfile, user)?;
            }
            give(&dir.join(root), user)
        };
        fill().map_err(AgentError::io("fill", &dir))
    }

    /// Puts a copy of the source into it that steps may change.
    ///
    /// # Errors
    /// [`AgentError::Io`], also when there are absurdly many files.
    pub fn copy_source(&self, source: &Path, user: (u32, u32)) -> Result<(), AgentError> {
        let dir = self.path.join("source");
        let fill = || {
            make_dir(&dir)?;
            give(&dir, user)?;
            copy_tree(source, &dir, &mut Copy::giving_to(user))
        };
        fill().map_err(AgentError::io("fill", &dir))
    }

    /// Puts a lockfile for resolving into the directory `root`.
    fn put_lockfile(&self, root: &str, text: &str, user: (u32, u32)) -> io::Result<()> {
        let path = self.lockfile(root);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        fs::write(&path, text)?;
        give(&path, user)
    }

    /// Replaces the lockfile in the directory `root`.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn set_lockfile(&self, root: &str, text: &str, user: (u32, u32)) -> Result<(), AgentError> {
        let path = self.lockfile(root);
        self.put_lockfile(root, text, user)
            .map_err(AgentError::io("write", &path))
    }

    fn lockfile(&self, root: &str) -> PathBuf {
        self.path.join("resolve").join(root).join("Cargo.lock")
    }

    /// The lockfile that was resolved.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn resolved_lockfile(&self, root: &str) -> Result<Option<String>, AgentError> {
        let path = self.lockfile(root);
        read_text(&path).map_err(AgentError::io("read", &path))
    }

    /// Takes a lockfile that could not be used away.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn forget_lockfile(&self, root: &str) -> Result<(), AgentError> {
        let path = self.lockfile(root);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(AgentError::io("remove", &path)(e))
            }
            _ => Ok(()),
        }
    }

    /// Removes all that the run wrote.
    ///
    /// # Errors
    /// [`AgentError::Io`].
    pub fn remove(self) -> Result<(), AgentError> {
        remove_tree(&self.path).map_err(AgentError::io("remove", &self.path))
    }
}

/// Makes `to` look like the directory `path` of the source: links to what is in it, but for
/// directories on the way to a manifest, which are directories, and the manifests, which are
/// copies. Lockfiles are left out.
fn mirror_dir(source: &Path, to: &Path, path: &str, manifests: &BTreeSet<&str>) -> io::Result<()> {
    make_dir(to)?;
    for entry in fs::read_dir(source.join(path))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let inside = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}/{name}")
        };
        let is_on_the_way = |dir: &&str| {
            let rest = dir.strip_prefix(inside.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if entry.file_type()?.is_dir() && manifests.iter().any(is_on_the_way) {
            mirror_dir(source, &to.join(name), &inside, manifests)?;
        } else if name == "Cargo.toml" && manifests.contains(path) {
            fs::copy(entry.path(), to.join(name))?;
        } else if name != "Cargo.lock" {
            symlink(format!("{}/{inside}", guest::SOURCE), to.join(name))?;
        }
    }
    Ok(())
}

/// Reads a text file that is no link and not absurdly large; other bytes are replaced.
fn read_text(path: &Path) -> io::Result<Option<String>> {
    let metadata = match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if metadata.len() > MAX_LOCKFILE_BYTES {
        return Err(io::Error::other(
            "it is larger than any manifest or lockfile",
        ));
    }
    Ok(Some(String::from_utf8_lossy(&fs::read(path)?).into_owned()))
}

#[cfg(test)]
mod tests;
