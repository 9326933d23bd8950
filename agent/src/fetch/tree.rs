//! From what git checked out to a tree of the store: copied, bounded, without a link that leads
//! out of it, read-only.
//!
//! What is here was written by strangers, and the sandbox that wrote it is gone: nothing changes
//! any more while it is looked at. No link is ever followed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use fs_err as fs;

use super::FetchLimits;

/// Links that are followed to find where one ends.
const MAX_HOPS: usize = 40;
/// Directories in one another.
const MAX_DEPTH: usize = 128;
/// Paths of links that are kept in the notes.
const MAX_NOTES: usize = 20;

/// Why a tree is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TreeError {
    /// It is larger than allowed, or deeper.
    #[error("{0}")]
    Refused(String),
    /// The system.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What was copied.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Copied {
    /// Links that were left out because they lead out of the tree, the first of them.
    pub(super) left_out: Vec<String>,
}

/// Copies the tree at `from` to `to`, which is made. `keep_git` also takes what is called `.git`.
pub(super) fn place(from: &Path, to: &Path, limits: &FetchLimits) -> Result<Copied, TreeError> {
    let mut placing = Placing {
        root: from,
        limits,
        bytes: 0,
        entries: 0,
        links: BTreeMap::new(),
        copied: Copied::default(),
    };
    placing.find_links(Path::new(""), 0)?;
    fs::create_dir(to)?;
    placing.directory(Path::new(""), to)?;
    Ok(placing.copied)
}

struct Placing<'a> {
    root: &'a Path,
    limits: &'a FetchLimits,
    bytes: u64,
    entries: u64,
    /// Every link of the tree, with its target.
    links: BTreeMap<PathBuf, PathBuf>,
    copied: Copied,
}

impl Placing<'_> {
    /// Looks through the whole tree first: its size, and its links.
    fn find_links(&mut self, dir: &Path, depth: usize) -> Result<(), TreeError> {
        if depth > MAX_DEPTH {
            let why = format!("its directories are more than {MAX_DEPTH} deep");
            return Err(TreeError::Refused(why));
        }
        for entry in fs::read_dir(self.root.join(dir))? {
            let entry = entry?;
            let path = dir.join(entry.file_name());
            let kind = entry.file_type()?;
            self.entries += 1;
            if kind.is_dir() {
                self.find_links(&path, depth + 1)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(self.root.join(&path))?;
                self.links.insert(path, target);
            } else {
                self.bytes += entry.metadata()?.len();
            }
            let FetchLimits {
                tree_bytes,
                tree_entries,
                ..
            } = *self.limits;
            if self.entries > tree_entries {
                let why = format!("it holds more than {tree_entries} files");
                return Err(TreeError::Refused(why));
            }
            if self.bytes > tree_bytes {
                let why = format!("its files hold more than {} MiB", tree_bytes >> 20);
                return Err(TreeError::Refused(why));
            }
        }
        Ok(())
    }

    fn directory(&mut self, dir: &Path, to: &Path) -> Result<(), TreeError> {
        for entry in fs::read_dir(self.root.join(dir))? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            let (path, target) = (dir.join(&name), to.join(&name));
            if kind.is_dir() {
                fs::create_dir(&target)?;
                self.directory(&path, &target)?;
            } else if kind.is_symlink() {
                self.link(&path, &target)?;
            } else if kind.is_file() {
                fs::copy(entry.path(), &target)?;
                let runs = entry.metadata()?.permissions().mode() & 0o111 != 0;
                let mode = if runs { 0o555 } else { 0o444 };
                fs::set_permissions(&target, PermissionsExt::from_mode(mode))?;
            }
        }
        // Its maker may still remove what is in it; nobody else may anything.
        Ok(fs::set_permissions(to, PermissionsExt::from_mode(0o755))?)
    }

    fn link(&mut self, path: &Path, to: &Path) -> Result<(), TreeError> {
        if self.stays_inside(path) {
            symlink(&self.links[path], to)?;
        } else if self.copied.left_out.len() < MAX_NOTES {
            let shown = path.display().to_string();
            self.copied.left_out.push(shown);
        }
        Ok(())
    }

    /// Whether the link at `path` ends in the tree, and every step on the way there is in it.
    fn stays_inside(&self, path: &Path) -> bool {
        let mut at: Vec<OsString> = path.iter().map(OsStr::to_owned).collect();
        at.pop();
        let mut hops = 0;
        let mut to_go: Vec<OsString> = Vec::new();
        if !push(&self.links[path], &mut to_go) {
            return false;
        }
        while let Some(next) = to_go.pop() {
            if next == ".." {
                if at.pop().is_none() {
                    return false;
                }
                continue;
            }
            at.push(next);
            let here: PathBuf = at.iter().collect();
            let Some(target) = self.links.get(&here) else {
                continue;
            };
            hops += 1;
            at.pop();
            if hops > MAX_HOPS || !push(target, &mut to_go) {
                return false;
            }
        }
        true
    }
}

/// Puts the steps of a relative path on top of those that are still to go; `false` for one that
/// is absolute.
fn push(target: &Path, to_go: &mut Vec<OsString>) -> bool {
    let mut steps = Vec::new();
    for component in target.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => steps.push(OsString::from("..")),
            Component::Normal(name) => steps.push(name.to_owned()),
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    to_go.extend(steps.into_iter().rev());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> FetchLimits {
        FetchLimits {
            tree_bytes: 1000,
            tree_entries: 20,
            ..FetchLimits::default()
        }
    }

    #[test]
    fn links_that_leave_the_tree_are_left_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("a/b")).expect("writable");
        fs::write(from.join("a/file"), "x").expect("writable");
        let links = [
            ("a/b/up", "../file", true),
            ("a/dangling", "nowhere", true),
            ("top", ".", true),
            ("a/b/round", "../../a/b/../file", true),
            ("absolute", "/etc/passwd", false),
            ("a/b/out", "../../../x", false),
            // Inside by its letters, outside by way of the other link.
            ("a/short", "b/deep", true),
            ("a/b/deep", "../..", true),
            ("a/trick", "short/../x", false),
            ("loop", "loop", false),
        ];
        for (name, target, _) in links {
            symlink(target, from.join(name)).expect("writable");
        }
        let to = dir.path().join("to");
        let copied = place(&from, &to, &limits()).expect("a tree");
        for (name, target, kept) in links {
            assert_eq!(to.join(name).is_symlink(), kept, "{name} -> {target}");
            let told = copied.left_out.iter().any(|path| path == name);
            assert_eq!(told, !kept, "{name}");
        }
        assert_eq!(fs::read_to_string(to.join("a/b/up")).expect("a file"), "x");
    }

    #[test]
    fn a_tree_has_bounds() {
        let dir = tempfile::tempdir().expect("a directory");
        let from = dir.path().join("from");
        fs::create_dir(&from).expect("writable");
        fs::write(from.join("large"), vec![0; 1001]).expect("writable");
        let refused = |to: &str| {
            let error = place(&from, &dir.path().join(to), &limits()).expect_err("too much");
            error.to_string()
        };
        assert!(refused("1").contains("MiB"));
        fs::remove_file(from.join("large")).expect("there");
        for n in 0..21 {
            fs::write(from.join(n.to_string()), "").expect("writable");
        }
        assert!(refused("2").contains("more than 20 files"));
        fs::remove_dir_all(&from).expect("there");
        let deep: PathBuf = std::iter::repeat_n("d", 140).collect();
        fs::create_dir_all(from.join(deep)).expect("writable");
        let limits = FetchLimits::default();
        let error = place(&from, &dir.path().join("3"), &limits).expect_err("too deep");
        assert!(error.to_string().contains("deep"), "{error}");
    }
}
