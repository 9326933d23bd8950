//! Places in the new root for things to be mounted on: made where they are missing, reached
//! without following a link, because a step of the past may have left one in a writable mount.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdirat, openat};
use rustix::io::Errno;

const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What is to be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    /// Anything else.
    File,
}

impl Kind {
    /// The kind of what is behind a descriptor.
    pub(super) fn of(thing: impl AsFd) -> io::Result<Self> {
        let mode = fstat(thing)?.st_mode;
        Ok(match FileType::from_raw_mode(mode) {
            FileType::Directory => Self::Directory,
            _ => Self::File,
        })
    }
}

/// The place `path`, absolute, of the kind.
pub(super) fn place(path: &str, kind: Kind) -> io::Result<OwnedFd> {
    let mut at = openat(CWD, "/", OFlags::DIRECTORY | PATH_ONLY, Mode::empty())?;
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        if matches!(name, "." | "..") {
            return Err(io::Error::other("its path is not plain"));
        }
        let last = names.peek().is_none();
        at = if last && kind == Kind::File {
            file(&at, name)?
        } else {
            directory(&at, name)?
        };
    }
    Ok(at)
}

fn directory(at: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let open = || openat(at, name, OFlags::DIRECTORY | PATH_ONLY, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {
            mkdirat(at, name, Mode::from_raw_mode(0o755))?;
            Ok(open()?)
        }
        other => Ok(other?),
    }
}

fn file(at: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let open = || openat(at, name, PATH_ONLY, Mode::empty());
    let opened = match open() {
        Err(Errno::NOENT) => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            drop(openat(at, name, flags, Mode::from_raw_mode(0o644))?);
            open()?
        }
        other => other?,
    };
    match FileType::from_raw_mode(fstat(&opened)?.st_mode) {
        FileType::Symlink | FileType::Directory => {
            Err(io::Error::other("there is something else already"))
        }
        _ => Ok(opened),
    }
}

/// Writes a file of the new root, with the directories above it.
pub(super) fn write(path: &str, content: &str) -> io::Result<()> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let above = place(above, Kind::Directory)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(above, name, flags, Mode::from_raw_mode(0o644))?;
    io::Write::write_all(&mut File::from(file), content.as_bytes())
}

/// Makes a link of the new root, with the directories above it.
pub(super) fn link(path: &str, target: &Path) -> io::Result<()> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let above = place(above, Kind::Directory)?;
    Ok(rustix::fs::symlinkat(target, above, name)?)
}
