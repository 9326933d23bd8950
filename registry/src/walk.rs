//! All crates of a registry from a checkout of its index: a directory with an entry for each crate,
//! in the layout that git indexes and sparse ones share.
//!
//! An index knows no downloads, and not when it was made.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ejecta_core::krate::CrateName;
use fs_err as fs;

use crate::entry::{DepKind, IndexEntry};
use crate::error::RegistryError;
use crate::snapshot::{KnownCrate, KnownRelease, Need, Snapshot, number};

/// Deeper directories hold no entries: `3/s/syn`, `se/rd/serde`.
const MAX_DEPTH: usize = 3;

/// Reads every entry below `index`.
///
/// # Errors
/// [`RegistryError::Io`] where a file cannot be read, [`RegistryError::Unreadable`] where there is
/// no entry at all.
pub(crate) fn read(index: &Path) -> Result<Snapshot, RegistryError> {
    let mut files = Vec::new();
    collect(index, MAX_DEPTH, &mut files)?;
    // Directories are listed in any order; what is made of them has one.
    files.sort();
    let mut requirements = Requirements::default();
    let mut crates = Vec::new();
    let mut needs = Vec::new();
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str());
        let Some(Ok(name)) = name.map(CrateName::new) else {
            continue;
        };
        let body = fs::read(&file).map_err(|e| RegistryError::io("read", &file, e))?;
        let Some(entry) = IndexEntry::parse(&name, &body) else {
            continue;
        };
        let (krate, needed) = known(entry, &mut requirements);
        crates.push(krate);
        needs.push(needed);
    }
    if crates.is_empty() {
        return Err(RegistryError::Unreadable {
            url: index.display().to_string(),
            why: "it has no entry of a crate: no checkout of an index".to_owned(),
        });
    }
    let places: HashMap<String, u32> = crates
        .iter()
        .enumerate()
        .map(|(at, krate): (usize, &KnownCrate)| (krate.name.canonical(), number(at)))
        .collect();
    for (krate, needed) in crates.iter_mut().zip(needs) {
        krate.needs = needed
            .into_iter()
            .filter_map(|(on, requirement)| {
                let on = *places.get(&on)?;
                Some(Need { on, requirement })
            })
            .collect();
    }
    Ok(Snapshot::new(None, false, crates, requirements.texts))
}

/// The crate of an entry, and the canonical names and requirements of what it needs.
fn known(entry: IndexEntry, requirements: &mut Requirements) -> (KnownCrate, Vec<(String, u32)>) {
    let mut needs = Vec::new();
    let newest = entry.newest().map(|release| {
        for dep in &release.deps {
            let here = dep.registry.is_none();
            match dep.kind {
                DepKind::Normal | DepKind::Build if here => {
                    let requirement = requirements.number(dep.req.to_string());
                    needs.push((dep.name.canonical(), requirement));
                }
                DepKind::Normal | DepKind::Build | DepKind::Dev => {}
            }
        }
        KnownRelease {
            version: release.version.clone(),
            checksum: Some(release.checksum.clone()),
        }
    });
    let krate = KnownCrate {
        name: entry.name,
        newest,
        downloads: 0,
        needs: Vec::new(),
    };
    (krate, needs)
}

#[derive(Default)]
struct Requirements {
    texts: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Requirements {
    fn number(&mut self, text: String) -> u32 {
        if let Some(known) = self.numbers.get(&text) {
            return *known;
        }
        let next = number(self.texts.len());
        self.texts.push(text.clone());
        self.numbers.insert(text, next);
        next
    }
}

fn collect(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), RegistryError> {
    let failed = |e| RegistryError::io("read", dir, e);
    for child in fs::read_dir(dir).map_err(failed)? {
        let child = child.map_err(failed)?;
        let kind = child.file_type().map_err(failed)?;
        let hidden = child.file_name().to_string_lossy().starts_with('.');
        if kind.is_dir() && depth > 0 && !hidden {
            collect(&child.path(), depth - 1, files)?;
        } else if kind.is_file() && !hidden {
            files.push(child.path());
        }
    }
    Ok(())
}
