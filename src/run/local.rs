//! Crates of this machine's disk: a crate, a workspace, or a folder of them.

use std::path::Path;

use ejecta_agent::package_tree::{LocalPackage, local_packages};
use ejecta_core::krate::{Crate, Source};

use super::repositories::krate;
use crate::error::Failure;

/// A crate, all members of a workspace, or those of everything directly below a folder.
///
/// # Errors
/// [`Failure`] that names the directory, and the manifest that is wrong.
pub fn find(dir: &Path) -> Result<Vec<Crate>, Failure> {
    let wrong = |why: String| Failure::input(format!("`local:{}`: {why}", dir.display()));
    let dir_path = fs_err::canonicalize(dir).map_err(|e| wrong(e.to_string()))?;
    if dir_path.join("Cargo.toml").is_file() {
        return packages(&dir_path).map_err(wrong);
    }
    let mut children: Vec<_> = fs_err::read_dir(&dir_path)
        .map_err(|e| wrong(e.to_string()))?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.join("Cargo.toml").is_file())
        .collect();
    children.sort();
    if children.is_empty() {
        return Err(wrong(
            "there is no `Cargo.toml` in it or directly below it".to_owned(),
        ));
    }
    let mut crates = Vec::new();
    for child in children {
        crates.extend(packages(&child).map_err(wrong)?);
    }
    Ok(crates)
}

fn packages(dir: &Path) -> Result<Vec<Crate>, String> {
    let shown = dir.display();
    let packages = local_packages(dir).map_err(|e| format!("`{shown}`: {e}"))?;
    packages
        .into_iter()
        .map(|package| local(package).map_err(|e| format!("`{shown}`: {e}")))
        .collect()
}

fn local(package: LocalPackage) -> Result<Crate, String> {
    let LocalPackage { root, member } = package;
    let text = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| format!("the path `{}` is not UTF-8", path.display()))
    };
    let own = match member.path.as_str() {
        "" => root.clone(),
        path => root.join(path),
    };
    let path = text(&own)?;
    let root = (own != root).then(|| text(&root)).transpose()?;
    krate(member, |_| Source::Local { path, root })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, text: &str) {
        fs_err::create_dir_all(dir.join(name)).expect("writable");
        fs_err::write(dir.join(name).join("Cargo.toml"), text).expect("writable");
    }

    fn package(name: &str) -> String {
        format!("[package]\nname = \"{name}\"\nversion = \"1.2.3\"\n")
    }

    #[test]
    fn a_folder_of_crates_is_all_of_them_and_a_crate_is_itself() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), "b", &package("bee"));
        write(dir.path(), "a", &package("aye"));
        fs_err::create_dir(dir.path().join("c")).expect("writable");
        let all = find(dir.path()).expect("two crates");
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["aye 1.2.3", "bee 1.2.3"]);
        assert_eq!(find(&dir.path().join("b")).expect("one").len(), 1);
    }

    #[test]
    fn a_workspace_is_its_members_and_a_member_knows_its_workspace() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), "ws", "[workspace]\nmembers = [\"*\"]\n");
        write(dir.path(), "ws/a", &package("aye"));
        write(dir.path(), "ws/b", &package("bee"));
        let all = find(&dir.path().join("ws")).expect("two crates");
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["aye 1.2.3", "bee 1.2.3"]);
        let one = find(&dir.path().join("ws/b")).expect("one crate");
        assert_eq!(one[0], all[1]);
        let Source::Local { path, root } = &one[0].source else {
            panic!("{:?}", one[0].source);
        };
        assert!(path.ends_with("/ws/b"), "{path}");
        assert!(root.as_ref().is_some_and(|root| root.ends_with("/ws")));
    }

    #[test]
    fn a_folder_without_crates_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let e = find(dir.path()).expect_err("empty").to_string();
        assert!(e.contains("local:") && e.contains("no `Cargo.toml`"), "{e}");
        write(dir.path(), "a", "[dependencies]\n");
        let e = find(dir.path()).expect_err("no package").to_string();
        assert!(e.contains("no `[package]`"), "{e}");
    }
}
