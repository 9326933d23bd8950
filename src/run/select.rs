//! From a selection as it was written to crates that exist: asks the registry and the disk.

use std::path::Path;

use ejecta_core::krate::{Crate, CrateName, CrateRef, Source};
use ejecta_core::selection::{self, ListEntry, Selection};
use ejecta_registry::{Registry, RegistryError};
use futures_util::future::join_all;

use crate::error::Failure;

/// Finds all crates of a selection, in the order in which they were named.
///
/// # Errors
/// [`Failure`] that names every crate that there is not; nothing has been built by then.
pub async fn find(text: &str, registry: &Registry) -> Result<Vec<Crate>, Failure> {
    let selection: Selection = text.parse().map_err(Failure::input)?;
    let crates = match &selection {
        Selection::Demo => {
            let demo = selection::DEMO.map(|text| text.parse().map_err(Failure::input));
            let demo = demo
                .into_iter()
                .collect::<Result<Vec<CrateRef>, Failure>>()?;
            find_releases(&demo, registry).await?
        }
        Selection::List(entries) => find_entries(entries, registry).await?,
        Selection::File(path) => {
            let entries = read_file(path)?;
            find_entries(&entries, registry).await?
        }
        Selection::Local(dir) => find_local(Path::new(dir))?,
        Selection::Full
        | Selection::Top(_)
        | Selection::Random(_)
        | Selection::Dependents { .. }
        | Selection::Url(_)
        | Selection::Results { .. } => {
            return Err(Failure::input(format!(
                "the selection `{text}` is not supported by this version of ejecta"
            )));
        }
    };
    if crates.is_empty() {
        return Err(Failure::input(format!("the selection `{text}` is empty")));
    }
    Ok(crates)
}

fn read_file(path: &str) -> Result<Vec<ListEntry>, Failure> {
    let text = fs_err::read_to_string(path)
        .map_err(|e| Failure::to(format!("read the list of crates: {e}")))?;
    selection::parse_list(&text).map_err(|e| Failure::input(format!("`{path}`, {e}")))
}

async fn find_entries(entries: &[ListEntry], registry: &Registry) -> Result<Vec<Crate>, Failure> {
    let mut names = Vec::new();
    let mut crates = Vec::new();
    for entry in entries {
        match entry {
            ListEntry::Local(dir) => crates.extend(find_local(Path::new(dir))?),
            ListEntry::Release(name) => names.push(name.clone()),
            ListEntry::Git(repository) => {
                return Err(Failure::input(format!(
                    "`{repository}` is a git repository, which this version of ejecta cannot build"
                )));
            }
        }
    }
    crates.extend(find_releases(&names, registry).await?);
    Ok(crates)
}

/// Asks for all at once, and names all that are not there, not only the first.
async fn find_releases(names: &[CrateRef], registry: &Registry) -> Result<Vec<Crate>, Failure> {
    let found = join_all(names.iter().map(|name| registry.release(name))).await;
    let mut crates = Vec::new();
    let mut wrong = Vec::new();
    for (name, found) in names.iter().zip(found) {
        match found {
            Ok(release) => crates.push(Crate {
                name: release.name,
                version: release.version,
                source: Source::Registry {
                    checksum: release.checksum,
                },
            }),
            Err(RegistryError::UnknownCrate { .. }) => {
                wrong.push(format!("`{name}`: the registry has no crate of that name"));
            }
            Err(RegistryError::UnknownVersion { .. }) => {
                wrong.push(format!("`{name}`: the crate has no such version"));
            }
            Err(RegistryError::NoRelease { .. }) => {
                wrong.push(format!(
                    "`{name}`: the crate has no release that can be used"
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if wrong.is_empty() {
        return Ok(crates);
    }
    let all = wrong.join("\n  ");
    Err(Failure::input(format!(
        "these crates of the selection do not exist:\n  {all}"
    ))
    .hint("nothing was built; check the names, or leave the version out for the newest"))
}

/// A crate, or every crate directly below a folder.
fn find_local(dir: &Path) -> Result<Vec<Crate>, Failure> {
    let wrong = |why: String| Failure::input(format!("`local:{}`: {why}", dir.display()));
    let dir_path = fs_err::canonicalize(dir).map_err(|e| wrong(e.to_string()))?;
    if dir_path.join("Cargo.toml").is_file() {
        return local_crate(&dir_path)
            .map(|krate| vec![krate])
            .map_err(wrong);
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
    children
        .iter()
        .map(|child| local_crate(child).map_err(wrong))
        .collect()
}

fn local_crate(dir: &Path) -> Result<Crate, String> {
    let manifest = dir.join("Cargo.toml");
    let shown = manifest.display();
    let text = fs_err::read_to_string(&manifest).map_err(|e| e.to_string())?;
    // Only the name and the version are wanted here; the job finds out about all else.
    let prepared = ejecta_core::manifest::identity(&text).map_err(|e| format!("{shown}: {e}"))?;
    let (name, version) = prepared;
    let path = dir
        .to_str()
        .ok_or_else(|| format!("the path `{}` is not UTF-8", dir.display()))?;
    Ok(Crate {
        name: CrateName::new(name).map_err(|e| format!("{shown}: {e}"))?,
        version: version
            .parse()
            .map_err(|e| format!("{shown}: version `{version}`: {e}"))?,
        source: Source::Local {
            path: path.to_owned(),
            root: None,
        },
    })
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
        let all = find_local(dir.path()).expect("two crates");
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["aye 1.2.3", "bee 1.2.3"]);
        assert_eq!(find_local(&dir.path().join("b")).expect("one").len(), 1);
    }

    #[test]
    fn a_folder_without_crates_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let e = find_local(dir.path()).expect_err("empty").to_string();
        assert!(e.contains("local:") && e.contains("no `Cargo.toml`"), "{e}");
        write(dir.path(), "a", "[workspace]\n");
        let e = find_local(dir.path()).expect_err("no package").to_string();
        assert!(e.contains("no `[package]`"), "{e}");
    }
}
