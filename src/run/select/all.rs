//! Selections that need the list of all crates: `full`, `top-N`, `random-N`, `dependents:`.

use std::collections::BTreeMap;

use ejecta_core::krate::{Crate, CrateRef};
use ejecta_core::selection::{self, Reach};
use ejecta_registry::{Database, KnownCrate, Registry, Snapshot};
use futures_util::future::try_join_all;

use super::Notes;
use super::releases::crate_of;
use crate::error::Failure;

/// Reads the list of all crates, and says of when it is.
///
/// # Errors
/// [`Failure`] where there is none.
pub async fn list(
    text: &str,
    registry: &Registry,
    database: &Database,
    notes: &mut Notes<'_>,
) -> Result<std::sync::Arc<Snapshot>, Failure> {
    if *database == Database::Registry && registry.last_snapshot(database).await.is_none() {
        notes.tell(format!(
            "`{text}` needs the list of all crates: downloading the registry's database dump, once a day at most"
        ));
    }
    let all = registry.snapshot(database).await?;
    let count = all.usable().len();
    notes.tell(match all.taken() {
        Some(taken) => format!("{count} crates in the registry, as of {taken:.0}"),
        None => format!("{count} crates in the index"),
    });
    Ok(all)
}

/// The most downloaded crates, the most downloaded first.
///
/// # Errors
/// [`Failure`] where downloads are not known.
pub fn top<'a>(
    text: &str,
    count: u32,
    all: &'a Snapshot,
    notes: &mut Notes<'_>,
) -> Result<Vec<&'a KnownCrate>, Failure> {
    if !all.downloads_known() {
        return Err(Failure::input(format!(
            "`{text}`: a checkout of an index does not say how often crates are downloaded"
        ))
        .hint("give `--database` a database dump, or use another selection, such as `random-N`"));
    }
    let found = all.top(usize::try_from(count).unwrap_or(usize::MAX));
    fewer(text, count, found.len(), notes);
    Ok(found)
}

/// Crates drawn by the seed: the same for the same list everywhere.
pub fn random<'a>(
    text: &str,
    count: u32,
    seed: u64,
    all: &'a Snapshot,
    notes: &mut Notes<'_>,
) -> Vec<&'a KnownCrate> {
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    let found = selection::draw(all.usable(), wanted, seed);
    fewer(text, count, found.len(), notes);
    found
}

fn fewer(text: &str, wanted: u32, found: usize, notes: &mut Notes<'_>) {
    if found < usize::try_from(wanted).unwrap_or(usize::MAX) {
        notes.tell(format!("`{text}`: there are no more than {found} crates"));
    }
}

/// The crates that depend on `of`; says which versions of it they take.
///
/// # Errors
/// [`Failure`] where there is no such crate, or nothing depends on it.
pub fn dependents<'a>(
    text: &str,
    of: &CrateRef,
    reach: Reach,
    all: &'a Snapshot,
    notes: &mut Notes<'_>,
) -> Result<Vec<&'a KnownCrate>, Failure> {
    let found = all.dependents(&of.name, of.version.as_ref(), reach);
    let Some(found) = found else {
        let name = &of.name;
        return Err(
            Failure::input(format!("`{text}`: the registry has no crate `{name}`"))
                .hint("check the spelling, and which registry is used"),
        );
    };
    if found.is_empty() {
        return Err(Failure::input(format!(
            "the selection `{text}` is empty: no crate's newest release depends on `{of}`"
        ))
        .hint("dependencies of tests, examples and benches alone do not count"));
    }
    let mut requirements: BTreeMap<&str, usize> = BTreeMap::new();
    for requirement in found.iter().filter_map(|d| d.requirement) {
        *requirements.entry(requirement).or_default() += 1;
    }
    let mut requirements: Vec<(&str, usize)> = requirements.into_iter().collect();
    requirements.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let direct: usize = requirements.iter().map(|(_, count)| count).sum();
    let shown = requirements.iter().take(5);
    let shown: Vec<String> = shown.map(|(text, n)| format!("`{text}` by {n}")).collect();
    let more = if requirements.len() > 5 { ", …" } else { "" };
    let through = match found.len() - direct {
        0 => String::new(),
        through => format!(", {through} through others"),
    };
    let depend = if direct == 1 {
        "crate depends"
    } else {
        "crates depend"
    };
    notes.tell(format!(
        "{direct} {depend} directly on `{of}`{through}; required is {}{more}",
        shown.join(", ")
    ));
    Ok(found.into_iter().map(|d| d.krate).collect())
}

/// The crates themselves. Only those whose checksum the dump does not have are asked for.
///
/// # Errors
/// [`Failure`] of a request.
pub async fn crates(known: Vec<&KnownCrate>, registry: &Registry) -> Result<Vec<Crate>, Failure> {
    let found = known.into_iter().filter_map(|krate| {
        let version = krate.newest.as_ref()?.version.clone();
        let name = krate.name.clone();
        Some(async move {
            match krate.release() {
                Some(release) => Ok(release),
                None => {
                    let version = Some(version);
                    registry.release(&CrateRef { name, version }).await
                }
            }
        })
    });
    let releases = try_join_all(found).await.map_err(Failure::from)?;
    Ok(releases.into_iter().map(crate_of).collect())
}
