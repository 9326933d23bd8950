//! The releases that a list names: all asked for at once, and all that there are not named at once.

use std::fmt::Display;

use ejecta_core::krate::{Crate, CrateRef, Release, Source};
use ejecta_registry::{Chosen, Registry, RegistryError};
use futures_util::future::join_all;

use super::Notes;
use crate::error::Failure;

/// The crate of a release.
pub fn crate_of(release: Release) -> Crate {
    Crate {
        name: release.name,
        version: release.version,
        source: Source::Registry {
            checksum: release.checksum,
        },
    }
}

/// Finds releases, in the order of their names.
///
/// # Errors
/// [`Failure`] that names every one that there is not.
pub async fn find(
    names: &[CrateRef],
    registry: &Registry,
    notes: &mut Notes<'_>,
) -> Result<Vec<Crate>, Failure> {
    let found = join_all(names.iter().map(|name| registry.choose(name))).await;
    let mut crates = Vec::new();
    let mut wrong = Vec::new();
    let mut yanked = Vec::new();
    for (name, found) in names.iter().zip(found) {
        match found {
            Ok(chosen) => {
                if chosen.yanked {
                    yanked.push(name.to_string());
                }
                tell_prerelease(name, &chosen, notes);
                crates.push(crate_of(chosen.release));
            }
            Err(RegistryError::UnknownCrate { .. }) => {
                // At an address that is no registry's, there is no crate either.
                registry.check().await?;
                wrong.push(format!("`{name}`: the registry has no crate of that name"));
            }
            Err(RegistryError::UnknownVersion { newest, .. }) => {
                let newest = newest.map(|v| format!("; its newest is {v}"));
                let newest = newest.unwrap_or_default();
                wrong.push(format!("`{name}`: the crate has no such version{newest}"));
            }
            Err(RegistryError::NoRelease { .. }) => {
                wrong.push(format!(
                    "`{name}`: every release is yanked; name a version to have it all the same"
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !wrong.is_empty() {
        let all = wrong.join("\n  ");
        return Err(Failure::input(format!(
            "these crates of the selection cannot be had:\n  {all}"
        ))
        .hint("nothing was built; check the names, or leave the version out for the newest"));
    }
    if !yanked.is_empty() {
        let all = some(&yanked);
        notes.tell(format!(
            "yanked, and run because the version is named: {all}"
        ));
    }
    Ok(crates)
}

fn tell_prerelease(name: &CrateRef, chosen: &Chosen, notes: &mut Notes<'_>) {
    let version = &chosen.release.version;
    if name.version.is_none() && !version.pre.is_empty() {
        notes.tell(format!("`{name}` has only pre-releases: {version} is run"));
    }
}

/// The first few of many, in backticks, and how many more there are.
pub fn some<T: Display>(all: &[T]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = all.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
    let shown = shown.join(", ");
    match all.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_cut_short() {
        assert_eq!(some(&["a"]), "`a`");
        assert_eq!(some(&[1, 2, 3, 4, 5]), "`1`, `2`, `3`, `4`, `5`");
        assert_eq!(
            some(&[1, 2, 3, 4, 5, 6, 7]),
            "`1`, `2`, `3`, `4`, `5` and 2 more"
        );
    }
}
