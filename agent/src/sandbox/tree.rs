//! Directory trees written by hostile code: measuring and removing them.
//!
//! Both walks go from directory to directory by file descriptor and never follow a link, so a
//! tree cannot lead them outside however it changes meanwhile; both hold few descriptors however
//! deep the tree is. They block: call them where blocking is allowed.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::{fs, io};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

/// Directories that one measurement may hold open at once.
const MAX_OPEN: usize = 256;

/// Names that [`remove_tree`] takes from a directory at a time.
const BATCH: usize = 4096;

/// What a tree holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeUsage {
    /// Bytes allocated on disk; a file of several names counts once.
    pub bytes: u64,
    /// Files, links and directories, the top directory not counted; each name counts.
    pub inodes: u64,
    /// Directories that this user may not read: what they hold is not counted.
    pub unreadable: u64,
    /// Whether the tree branches on too many levels to be walked; the rest is not counted.
    pub too_deep: bool,
}

impl TreeUsage {
    /// Whether the tree holds more than that, or cannot be told to hold less.
    pub fn exceeds(&self, max_bytes: u64, max_inodes: u64) -> bool {
        self.bytes > max_bytes || self.inodes > max_inodes || self.too_deep
    }
}

/// Measures what is below `path`, without following links.
///
/// The top directory is made accessible to its owner first. A file counts itself.
///
/// Stops early once more than `max_bytes` or `max_inodes` are found: a tree over its limit is not
/// worth the rest of the walk. What vanishes during the walk is not counted.
///
/// # Errors
/// Whatever opening or reading the top directory gives.
pub fn tree_usage(path: &Path, max_bytes: u64, max_inodes: u64) -> io::Result<TreeUsage> {
    let mut usage = TreeUsage::default();
    let mut linked = HashSet::new();
    // A directory stays open only while one of its own directories waits here.
    let mut waiting: Vec<(Rc<OwnedFd>, CString)> = Vec::new();
    let mut open_parents = 0_usize;
    let top = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(top.st_mode) != FileType::Directory {
        usage.bytes = allocated(&top);
        return Ok(usage);
    }
    let mut current = Some(open_accessible(CWD, path)?);
    while let Some(fd) = current.take() {
        let mut subdirs = Vec::new();
        measure_directory(fd.as_fd(), &mut usage, &mut linked, &mut subdirs)?;
        usage.too_deep = open_parents >= MAX_OPEN && !subdirs.is_empty();
        if usage.exceeds(max_bytes, max_inodes) {
            return Ok(usage);
        }
        if !subdirs.is_empty() {
            let parent = Rc::new(fd);
            open_parents += 1;
            waiting.extend(subdirs.into_iter().map(|name| (Rc::clone(&parent), name)));
        }
        while let Some((parent, name)) = waiting.pop() {
            let opened = openat(parent.as_fd(), &name, dir_flags(), Mode::empty());
            if Rc::strong_count(&parent) == 1 {
                open_parents -= 1;
            }
            match opened {
                Ok(fd) => {
                    current = Some(fd);
                    break;
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(_) => usage.unreadable += 1,
            }
        }
    }
    Ok(usage)
}

/// Adds the entries of one directory to `usage` and names its directories in `subdirs`.
fn measure_directory(
    fd: BorrowedFd<'_>,
    usage: &mut TreeUsage,
    linked: &mut HashSet<(u64, u64)>,
    subdirs: &mut Vec<CString>,
) -> io::Result<()> {
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        if is_dots(entry.file_name().to_bytes()) {
            continue;
        }
        usage.inodes += 1;
        let Ok(stat) = statat(fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            subdirs.push(entry.file_name().to_owned());
        } else if stat.st_nlink > 1 && !linked.insert((stat.st_dev, stat.st_ino)) {
            continue;
        }
        usage.bytes += allocated(&stat);
    }
    Ok(())
}

/// The unit of `st_blocks` is 512 bytes, whatever the file system's own block size.
fn allocated(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}

/// Removes `path` and everything below it, whatever it is; nothing there is a success.
///
/// Directories are made accessible first (their writer may have taken every permission away), and
/// directories deep down are moved up to the top before they are emptied, so that depth costs
/// neither descriptors nor stack. Links are removed, never followed.
///
/// # Errors
/// The first failure; what could be removed until then is gone.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_dir() => return fs::remove_file(path),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let top = open_accessible(CWD, path)?;
    let mut moved = 0_u64;
    let mut names = Vec::new();
    while next_names(top.as_fd(), &mut names)? {
        for name in names.drain(..) {
            if unlink_unless_directory(top.as_fd(), &name)? {
                continue;
            }
            let directory = open_accessible(top.as_fd(), name.as_c_str())?;
            empty_into(directory.as_fd(), top.as_fd(), &mut moved)?;
            drop(directory);
            match unlinkat(top.as_fd(), &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    drop(top);
    fs::remove_dir(path)
}

/// Removes the files of `directory` and moves its directories into `top`, under new names.
fn empty_into(directory: BorrowedFd<'_>, top: BorrowedFd<'_>, moved: &mut u64) -> io::Result<()> {
    let mut names = Vec::new();
    while next_names(directory, &mut names)? {
        for name in names.drain(..) {
            if unlink_unless_directory(directory, &name)? {
                continue;
            }
            // To move a directory is to write its `..`: it must be writable itself.
            drop(open_accessible(directory, name.as_c_str())?);
            loop {
                *moved += 1;
                match renameat(directory, &name, top, format!(".ejecta-removed-{moved}")) {
                    Ok(()) | Err(Errno::NOENT) => break,
                    // The name is taken by something hostile: the next one.
                    Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(())
}

/// Unlinks `name` in `parent`; `false` when it is a directory, and then still there.
fn unlink_unless_directory(parent: BorrowedFd<'_>, name: &CString) -> io::Result<bool> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => {
            let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                Ok(false)
            } else {
                Err(Errno::PERM.into())
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Fills `names` with up to [`BATCH`] names of the directory; `false` when it is empty.
fn next_names(fd: BorrowedFd<'_>, names: &mut Vec<CString>) -> io::Result<bool> {
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        if !is_dots(entry.file_name().to_bytes()) {
            names.push(entry.file_name().to_owned());
        }
        if names.len() == BATCH {
            break;
        }
    }
    Ok(!names.is_empty())
}

/// Opens a directory, giving its owner every permission first where some are missing.
fn open_accessible<P: rustix::path::Arg + Copy>(
    parent: BorrowedFd<'_>,
    name: P,
) -> io::Result<OwnedFd> {
    let pinned = openat(parent, name, dir_flags() | OFlags::PATH, Mode::empty())?;
    let mode = Mode::from_raw_mode(fstat(&pinned)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        // A descriptor that only names a file cannot be changed through, but its name in /proc
        // can; unlike the name in `parent` it cannot be swapped for a link.
        let own_name = format!("/proc/self/fd/{}", pinned.as_raw_fd());
        rustix::fs::chmod(own_name, mode | Mode::RWXU)?;
    }
    Ok(openat(pinned.as_fd(), c".", dir_flags(), Mode::empty())?)
}

fn dir_flags() -> OFlags {
    OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn is_dots(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn all(path: &Path) -> TreeUsage {
        tree_usage(path, u64::MAX, u64::MAX).unwrap()
    }

    #[test]
    fn links_are_counted_and_removed_but_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        let tree = dir.path().join("tree");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), vec![1; 100_000]).unwrap();
        fs::create_dir(&tree).unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        symlink("../outside", tree.join("relative")).unwrap();
        symlink("link", tree.join("loop")).unwrap();
        assert_eq!(all(&tree).inodes, 3);
        assert!(all(&tree).bytes < 50_000);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(fs::read(outside.join("precious")).unwrap().len(), 100_000);
    }

    #[test]
    fn a_link_itself_is_removed_and_its_target_stays() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/usr", dir.path().join("link")).unwrap();
        remove_tree(&dir.path().join("link")).unwrap();
        assert!(Path::new("/usr/bin").exists());
        remove_tree(&dir.path().join("link")).unwrap();
    }

    #[test]
    fn hard_links_count_their_bytes_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        let usage = all(dir.path());
        assert_eq!(usage.inodes, 2);
        assert!((1 << 20..3 << 19).contains(&usage.bytes), "{usage:?}");
    }

    #[test]
    fn a_walk_stops_once_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..50 {
            let sub = dir.path().join(number.to_string());
            fs::create_dir(&sub).unwrap();
            fs::write(sub.join("file"), "x").unwrap();
        }
        let usage = tree_usage(dir.path(), u64::MAX, 10).unwrap();
        assert_eq!(usage.inodes, 50);
        assert_eq!(all(dir.path()).inodes, 100);
    }

    /// Makes a chain of `depth` directories, each with `extra` more beside it, deeper than any
    /// path can name.
    fn deep_tree(top: &Path, depth: usize, extra: &[&str]) {
        let mut fd = openat(CWD, top, dir_flags(), Mode::empty()).unwrap();
        for _ in 0..depth {
            for name in extra {
                rustix::fs::mkdirat(fd.as_fd(), *name, Mode::RWXU).unwrap();
            }
            rustix::fs::mkdirat(fd.as_fd(), "d", Mode::RWXU).unwrap();
            fd = openat(fd.as_fd(), "d", dir_flags(), Mode::empty()).unwrap();
        }
    }

    #[test]
    fn a_chain_deeper_than_any_path_is_measured_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        deep_tree(&tree, 6000, &[]);
        assert_eq!((all(&tree).inodes, all(&tree).too_deep), (6000, false));
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn a_comb_is_removed_and_what_was_not_seen_of_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        deep_tree(&tree, 1500, &["a", "z"]);
        let usage = all(&tree);
        assert!(usage.inodes == 4500 || usage.too_deep, "{usage:?}");
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn closed_directories_and_odd_names_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        let inner = tree.join("closed/ \n\u{1b}[31m");
        fs::create_dir_all(&inner).unwrap();
        fs::create_dir(inner.join(".ejecta-removed-2")).unwrap();
        fs::write(tree.join(".ejecta-removed-1"), "taken").unwrap();
        fs::write(inner.join("file"), "x").unwrap();
        fs::set_permissions(inner.join("file"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }
}
