//! From a selection as it was written to crates that exist: asks the registry and the disk.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use ejecta_core::krate::{Crate, CrateName, CrateRef};
use ejecta_core::report::Popularity;
use ejecta_core::selection::{self, ListEntry, Selection};
use ejecta_registry::{Database, KnownCrate, Registry, Snapshot};

use super::local;
use super::repositories::Repositories;
use crate::error::Failure;
use releases::some;

mod all;
mod listed;
mod releases;

/// Who is told what a selection turned out to mean, one sentence at a time.
pub struct Notes<'a>(pub &'a mut (dyn FnMut(String) + Send));

impl Notes<'_> {
    fn tell(&mut self, note: String) {
        (self.0)(note);
    }
}

/// Where crates are looked for.
pub struct Place<'a> {
    /// The registry.
    pub registry: &'a Registry,
    /// The list of all its crates.
    pub database: &'a Database,
    /// Git repositories.
    pub repositories: &'a Repositories,
    /// What `random-N` draws by.
    pub seed: u64,
}

/// What a selection means.
#[derive(Debug)]
pub struct Selected {
    /// Its crates, each once, in the order of the selection.
    pub crates: Vec<Crate>,
    /// Whether that order says something: the most downloaded come first.
    pub in_order: bool,
    /// Which state of the registry they come from, as in the results.
    pub snapshot: Option<String>,
    /// What they mean to others; empty where no list of all crates is at hand.
    pub popularity: BTreeMap<CrateName, Popularity>,
}

/// Finds all crates of a selection.
///
/// # Errors
/// [`Failure`] that names every crate that there is not; nothing has been built by then.
pub async fn find(
    text: &str,
    place: &Place<'_>,
    notes: &mut Notes<'_>,
) -> Result<Selected, Failure> {
    let selection: Selection = text.parse().map_err(Failure::input)?;
    let registry = place.registry;
    let mut all = None;
    let crates = match &selection {
        Selection::Demo => {
            let demo = selection::DEMO.map(|text| text.parse().map_err(Failure::input));
            let demo = demo
                .into_iter()
                .collect::<Result<Vec<CrateRef>, Failure>>()?;
            releases::find(&demo, registry, notes).await?
        }
        Selection::List(entries) => find_entries(entries.clone(), place, notes).await?,
        Selection::File(path) => find_entries(listed::file(path)?, place, notes).await?,
        Selection::Url(url) => {
            let entries = listed::address(url, registry).await?;
            find_entries(entries, place, notes).await?
        }
        Selection::Local(dir) => local::find(Path::new(dir))?,
        Selection::Results { path, verdicts } => listed::results(path, verdicts, registry).await?,
        Selection::Full
        | Selection::Top(_)
        | Selection::Random(_)
        | Selection::Dependents { .. } => {
            let list = all::list(text, registry, place.database, notes).await?;
            let known = find_known(&selection, text, place.seed, &list, notes)?;
            let crates = all::crates(known, registry).await?;
            all = Some(list);
            crates
        }
    };
    let crates = once(crates, notes);
    if crates.is_empty() {
        return Err(Failure::input(format!("the selection `{text}` is empty")));
    }
    let snapshot = match &all {
        Some(all) => Some(all.taken().map_or("index".to_owned(), |t| t.to_string())),
        None if crates.iter().any(|k| k.release().is_some()) => Some("index".to_owned()),
        None => None,
    };
    if all.is_none() && snapshot.is_some() {
        all = registry.last_snapshot(place.database).await;
    }
    Ok(Selected {
        popularity: all.map(|all| popularity(&crates, &all)).unwrap_or_default(),
        in_order: matches!(selection, Selection::Top(_)),
        crates,
        snapshot,
    })
}

/// The crates of a selection over the list of all.
fn find_known<'a>(
    selection: &Selection,
    text: &str,
    seed: u64,
    list: &'a Snapshot,
    notes: &mut Notes<'_>,
) -> Result<Vec<&'a KnownCrate>, Failure> {
    Ok(match selection {
        Selection::Top(count) => all::top(text, *count, list, notes)?,
        Selection::Random(count) => all::random(text, *count, seed, list, notes),
        Selection::Dependents { of, reach } => all::dependents(text, of, *reach, list, notes)?,
        Selection::Full
        | Selection::Demo
        | Selection::List(_)
        | Selection::File(_)
        | Selection::Url(_)
        | Selection::Local(_)
        | Selection::Results { .. } => list.usable(),
    })
}

/// Each crate once; says which were there more than once.
fn once(crates: Vec<Crate>, notes: &mut Notes<'_>) -> Vec<Crate> {
    let mut seen = HashSet::new();
    let (once, again): (Vec<Crate>, Vec<Crate>) = crates
        .into_iter()
        .partition(|krate| seen.insert(krate.id()));
    if !again.is_empty() {
        let again = some(&again);
        notes.tell(format!("selected more than once, and run once: {again}"));
    }
    once
}

/// What the crates mean to others, as far as the list knows them.
fn popularity(crates: &[Crate], all: &Snapshot) -> BTreeMap<CrateName, Popularity> {
    let of = crates.iter().filter_map(|krate| {
        let known = all.find(&krate.name)?;
        let popularity = Popularity {
            downloads: all.downloads_known().then_some(known.downloads),
            dependents: all.dependent_numbers(&krate.name).to_vec(),
        };
        Some((krate.name.clone(), popularity))
    });
    of.collect()
}

/// The crates of a list, in its order.
async fn find_entries(
    entries: Vec<ListEntry>,
    place: &Place<'_>,
    notes: &mut Notes<'_>,
) -> Result<Vec<Crate>, Failure> {
    let (entries, repeated) = selection::without_repeats(entries);
    if !repeated.is_empty() {
        let repeated = some(&repeated);
        notes.tell(format!("named more than once, and run once: {repeated}"));
    }
    let names: Vec<CrateRef> = entries
        .iter()
        .filter_map(|entry| match entry {
            ListEntry::Release(name) => Some(name.clone()),
            ListEntry::Git(_) | ListEntry::Local(_) => None,
        })
        .collect();
    let mut releases = releases::find(&names, place.registry, notes)
        .await?
        .into_iter();
    let (mut crates, mut failures) = (Vec::new(), Vec::new());
    for entry in &entries {
        let found = match entry {
            ListEntry::Release(_) => Ok(releases.next().into_iter().collect()),
            ListEntry::Local(dir) => local::find(Path::new(dir)),
            ListEntry::Git(repository) => place.repositories.crates(repository).await,
        };
        match found {
            Ok(found) => crates.extend(found),
            Err(failure) => failures.push(failure),
        }
    }
    match Failure::all(failures) {
        Some(failure) => Err(failure),
        None => Ok(crates),
    }
}
