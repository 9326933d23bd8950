//! Trees of files, copied or linked.

use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use fs_err as fs;
use rustix::fs::{Gid, Uid};

use crate::error::AgentError;

/// Files and directories of a local crate; more is a mistake of whoever named the directory.
const MAX_LOCAL_ENTRIES: u64 = 200_000;

/// Copies a directory of the user's, without what cargo built there and `.git`, to one that is made.
///
/// # Errors
/// [`AgentError::Io`], also when there are absurdly many files.
pub fn copy_to_new(from: &Path, to: &Path) -> Result<(), AgentError> {
    make_dir(to).map_err(AgentError::io("make", to))?;
    copy_tree(from, to, &mut Copy::copying()).map_err(AgentError::io("copy", from))
}

/// How a tree is copied.
pub(super) struct Copy {
    link: bool,
    /// Leaves out what building and version control put beside the source.
    only_source: bool,
    /// Who has it then.
    user: Option<(u32, u32)>,
    entries: u64,
}

impl Copy {
    pub(super) fn linking() -> Self {
        Self {
            link: true,
            only_source: false,
            user: None,
            entries: 0,
        }
    }

    pub(super) fn copying() -> Self {
        Self {
            link: false,
            only_source: true,
            user: None,
            entries: 0,
        }
    }

    pub(super) fn giving_to(user: (u32, u32)) -> Self {
        Self {
            link: false,
            only_source: false,
            user: Some(user),
            entries: 0,
        }
    }
}

/// Copies what is in `from` into `to`, following no links. Everything becomes readable for others.
pub(super) fn copy_tree(from: &Path, to: &Path, how: &mut Copy) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        how.entries += 1;
        if !how.link && how.entries > MAX_LOCAL_ENTRIES {
            return Err(io::Error::other(format!(
                "it holds more than {MAX_LOCAL_ENTRIES} files"
            )));
        }
        let name = entry.file_name();
        if how.only_source && (name == ".git" || is_build_directory(&entry.path())) {
            continue;
        }
        let (source, target) = (entry.path(), to.join(&name));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            make_dir(&target)?;
            if let Some(user) = how.user {
                give(&target, user)?;
            }
            copy_tree(&source, &target, how)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            copy_file(&source, &target, how.link)?;
            if let Some(user) = how.user {
                give(&target, user)?;
            }
        }
    }
    Ok(())
}

/// Whether cargo builds in a directory: `target` at any depth (each crate that a person built by
/// itself has one) that cargo has marked as a cache, or that an older cargo left beside a manifest.
/// A module or a folder of data may be called so too.
fn is_build_directory(path: &Path) -> bool {
    let beside = |name| path.with_file_name(name).is_file();
    let has = |name| path.join(name).exists();
    path.file_name().is_some_and(|name| name == "target")
        && (has("CACHEDIR.TAG")
            || has(".rustc_info.json") && (beside("Cargo.toml") || beside("Cargo.lock")))
}

pub(super) fn copy_file(source: &Path, target: &Path, link: bool) -> io::Result<()> {
    // Across file systems, and where links are forbidden, a copy does as well.
    if link && std::fs::hard_link(source, target).is_ok() {
        return Ok(());
    }
    fs::copy(source, target)?;
    let mode = fs::metadata(target)?.permissions().mode();
    fs::set_permissions(target, PermissionsExt::from_mode((mode & 0o111) | 0o644))
}

/// Makes a directory that other users can read, whatever the umask.
pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, PermissionsExt::from_mode(0o755))
}

/// Gives a path to the sandbox's user where that is somebody else.
pub(super) fn give(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    if rustix::process::geteuid().as_raw() == uid {
        return Ok(());
    }
    rustix::fs::chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    Ok(())
}
