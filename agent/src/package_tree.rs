//! A directory on disk as [`ejecta_core::workspace`] sees it: text files and directories below it,
//! and never what a link leads to.

use std::path::{Path, PathBuf};

use ejecta_core::workspace::{self, Member, Tree, WorkspaceError};

/// The longest manifest or lockfile that is read, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A directory.
#[derive(Debug, Clone, Copy)]
pub struct DiskTree<'a>(pub &'a Path);

impl DiskTree<'_> {
    /// The path of something below it, where no part of that is a link.
    fn find(&self, path: &str) -> Option<PathBuf> {
        let mut at = self.0.to_owned();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if matches!(part, "." | "..") {
                return None;
            }
            at.push(part);
            if std::fs::symlink_metadata(&at).ok()?.is_symlink() {
                return None;
            }
        }
        Some(at)
    }
}

impl Tree for DiskTree<'_> {
    fn read(&self, path: &str) -> Option<String> {
        let path = self.find(path)?;
        let found = std::fs::symlink_metadata(&path).ok()?;
        if !found.is_file() || found.len() > MAX_BYTES {
            return None;
        }
        let bytes = std::fs::read(path).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn directories(&self, path: &str) -> Vec<String> {
        let Some(entries) = self.find(path).and_then(|dir| std::fs::read_dir(dir).ok()) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !matches!(name.as_str(), ".git" | "target"))
            .collect();
        names.sort();
        names
    }
}

/// A package of a directory of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPackage {
    /// The directory of its workspace; its own where it has none. All that it takes from beside
    /// itself is below.
    pub root: PathBuf,
    /// What it is, and where below the root.
    pub member: Member,
}

/// The packages of a directory with a `Cargo.toml`: the members of a workspace, or the one package
/// that it is, perhaps of a workspace in a directory above.
///
/// # Errors
/// [`WorkspaceError`] when cargo would refuse it.
pub fn local_packages(dir: &Path) -> Result<Vec<LocalPackage>, WorkspaceError> {
    let members = match workspace::members(&DiskTree(dir)) {
        Ok(members) => members,
        // What it inherits is in a directory above, or nowhere.
        Err(error) => return in_workspace_above(dir).map(|one| vec![one]).ok_or(error),
    };
    let is_workspace = DiskTree(dir)
        .read("Cargo.toml")
        .is_some_and(|text| ejecta_core::manifest::is_workspace(&text));
    if !is_workspace && let Some(one) = in_workspace_above(dir) {
        return Ok(vec![one]);
    }
    Ok(members
        .into_iter()
        .map(|member| LocalPackage {
            root: dir.to_owned(),
            member,
        })
        .collect())
}

/// The package in `dir` as a member of the nearest workspace above that has it.
fn in_workspace_above(dir: &Path) -> Option<LocalPackage> {
    let mut above = dir.ancestors().skip(1);
    above.find_map(|root| {
        let text = DiskTree(root).read("Cargo.toml")?;
        if !ejecta_core::manifest::is_workspace(&text) {
            return None;
        }
        let path = dir.strip_prefix(root).ok()?.to_str()?;
        let members = workspace::members(&DiskTree(root)).ok()?;
        let member = members.into_iter().find(|member| member.path == path)?;
        Some(LocalPackage {
            root: root.to_owned(),
            member,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_member_is_found_with_the_workspace_above_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs_err::create_dir_all(path.parent().expect("below")).expect("writable");
            fs_err::write(path, text).expect("writable");
        };
        let inherits = "[package]\nname = \"a\"\nversion.workspace = true\n";
        write(
            "ws/Cargo.toml",
            "[workspace]\nmembers = [\"a\"]\n[workspace.package]\nversion = \"1.0.0\"\n",
        );
        write("ws/a/Cargo.toml", inherits);
        write(
            "ws/lone/Cargo.toml",
            "[package]\nname = \"lone\"\nversion = \"2.0.0\"\n",
        );
        write("else/Cargo.toml", inherits);
        let of = |path: &str| local_packages(&dir.path().join(path));
        for path in ["ws", "ws/a"] {
            let found = of(path).expect("a package");
            assert_eq!(found.len(), 1, "{path}");
            assert_eq!(found[0].root, dir.path().join("ws"), "{path}");
            assert_eq!(found[0].member.path, "a", "{path}");
            assert_eq!(found[0].member.version, "1.0.0", "{path}");
        }
        let lone = of("ws/lone").expect("a package");
        assert_eq!(
            (lone[0].root.clone(), lone[0].member.path.as_str()),
            (dir.path().join("ws/lone"), "")
        );
        assert!(of("else").is_err());
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let top = dir.path().join("top");
        fs_err::create_dir_all(top.join("a/b")).expect("writable");
        fs_err::write(top.join("a/b/file"), "x").expect("writable");
        fs_err::write(dir.path().join("secret"), "x").expect("writable");
        symlink("a", top.join("to-dir")).expect("writable");
        symlink("../secret", top.join("to-file")).expect("writable");
        let tree = DiskTree(&top);
        assert_eq!(tree.read("a/b/file").as_deref(), Some("x"));
        for path in ["to-dir/b/file", "to-file", "../secret", "a/b", "a/gone"] {
            assert_eq!(tree.read(path), None, "{path}");
        }
        assert_eq!(tree.directories(""), ["a"]);
        assert_eq!(tree.directories("to-dir"), Vec::<String>::new());
    }
}
