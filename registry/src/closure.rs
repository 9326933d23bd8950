//! Which index entries a fresh resolve will ask for, guessed by following the newest releases.
//!
//! Cargo resolves in a sandbox without a network, so the entries must be there before. The guess
//! takes for each requirement the highest release that fits, and follows what its features pull
//! in. Where cargo has to step back to an older release it may miss a name; the caller then asks
//! for that one. [`Closure`] is pure: it says which names it wants, and is given their entries.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ejecta_core::krate::CrateName;
use futures_util::stream::{FuturesUnordered, StreamExt};
use semver::{Version, VersionReq};

use crate::entry::{DepKind, IndexDep, IndexEntry, IndexRelease};
use crate::error::RegistryError;
use crate::registry::Registry;

/// A dependency of the crate that is resolved for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootDep {
    /// The package's name in the registry.
    pub name: CrateName,
    /// Which versions fit.
    pub req: VersionReq,
    /// Whether its default features are on.
    pub default_features: bool,
    /// Its features that are asked for.
    pub features: Vec<String>,
}

impl RootDep {
    /// What a lockfile for a release holds, since lockfiles are made with all features on: every
    /// dependency, the optional ones too, and those of tests where `with_dev` says so.
    pub fn of_release(release: &IndexRelease, with_dev: bool) -> Vec<Self> {
        let all = release.features.keys().cloned().collect();
        let asked = turned_on(release, &all);
        let deps = release.deps.iter();
        deps.filter(|dep| dep.registry.is_none() && (with_dev || dep.kind != DepKind::Dev))
            .map(|dep| Self {
                name: dep.name.clone(),
                req: dep.req.clone(),
                default_features: dep.default_features,
                features: features_of(dep, &asked).into_iter().collect(),
            })
            .collect()
    }
}

/// What [`Registry::prefetch_closure`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefetched {
    /// How many index entries are there now.
    pub entries: usize,
    /// How many releases the guess chose.
    pub releases: usize,
    /// Names that the registry does not have.
    pub unknown: BTreeSet<CrateName>,
}

impl Registry {
    /// Fetches the index entries that resolving `roots` will most likely need.
    ///
    /// # Errors
    /// The first [`RegistryError`] of a request. Unknown names are no errors here: cargo decides
    /// whether it needs them.
    pub async fn prefetch_closure(&self, roots: &[RootDep]) -> Result<Prefetched, RegistryError> {
        let mut closure = Closure::default();
        for root in roots {
            closure.want(root.clone());
        }
        let mut requests = FuturesUnordered::new();
        loop {
            for name in closure.take_wanted() {
                requests.push(async move {
                    let entry = self.exact_entry(&name).await;
                    entry.map(|entry| (name, entry))
                });
            }
            let Some(result) = requests.next().await else {
                return Ok(closure.finish());
            };
            let (name, entry) = result?;
            closure.supply(name, entry);
        }
    }
}

/// The state of a guess.
#[derive(Debug, Default)]
pub(crate) struct Closure {
    /// `None` while the entry is on its way; by index path, thus in lower case.
    entries: HashMap<String, Option<Arc<IndexEntry>>>,
    /// Requirements that wait for their entry.
    waiting: HashMap<String, Vec<RootDep>>,
    /// Names to ask the registry for.
    wanted: Vec<CrateName>,
    /// The chosen releases, with the features that are on.
    chosen: HashMap<(String, Version), BTreeSet<String>>,
    unknown: BTreeSet<CrateName>,
}

impl Closure {
    /// Adds a requirement.
    pub(crate) fn want(&mut self, dep: RootDep) {
        let mut stack = vec![dep];
        while let Some(dep) = stack.pop() {
            let key = dep.name.as_str().to_ascii_lowercase();
            match self.entries.get(&key) {
                Some(Some(entry)) => {
                    let entry = Arc::clone(entry);
                    stack.extend(self.choose(key, &entry, &dep));
                }
                Some(None) => self.waiting.entry(key).or_default().push(dep),
                None => {
                    self.entries.insert(key.clone(), None);
                    self.wanted.push(dep.name.clone());
                    self.waiting.entry(key).or_default().push(dep);
                }
            }
        }
    }

    /// The names that were not asked for before.
    pub(crate) fn take_wanted(&mut self) -> Vec<CrateName> {
        std::mem::take(&mut self.wanted)
    }

    /// The registry's answer for a name.
    pub(crate) fn supply(&mut self, name: CrateName, entry: Option<Arc<IndexEntry>>) {
        let key = name.as_str().to_ascii_lowercase();
        let waiting = self.waiting.remove(&key).unwrap_or_default();
        let Some(entry) = entry else {
            self.unknown.insert(name);
            return;
        };
        self.entries.insert(key, Some(entry));
        for dep in waiting {
            self.want(dep);
        }
    }

    /// Takes the release for a requirement, and returns what it needs that was not known before.
    fn choose(&mut self, key: String, entry: &IndexEntry, dep: &RootDep) -> Vec<RootDep> {
        let Some(release) = entry.highest_matching(&dep.req) else {
            return Vec::new();
        };
        let mut asked: BTreeSet<String> = dep.features.iter().cloned().collect();
        if dep.default_features {
            asked.insert("default".to_owned());
        }
        let chosen = (key, release.version.clone());
        let features = match self.chosen.get_mut(&chosen) {
            Some(on) if asked.is_subset(on) => return Vec::new(),
            Some(on) => {
                on.extend(asked);
                on.clone()
            }
            None => {
                self.chosen.insert(chosen, asked.clone());
                asked
            }
        };
        needs(release, &features)
    }

    fn finish(self) -> Prefetched {
        Prefetched {
            entries: self.entries.values().flatten().count(),
            releases: self.chosen.len(),
            unknown: self.unknown,
        }
    }
}

/// What a release needs of the registry with these features on: normal and build dependencies of
/// every platform, since a lockfile is for all of them.
fn needs(release: &IndexRelease, features: &BTreeSet<String>) -> Vec<RootDep> {
    let on = turned_on(release, features);
    let deps = release.deps.iter();
    deps.filter(|dep| dep.kind != DepKind::Dev && dep.registry.is_none())
        .filter(|dep| !dep.optional || on.contains_key(dep.toml_name()))
        .map(|dep| RootDep {
            name: dep.name.clone(),
            req: dep.req.clone(),
            default_features: dep.default_features,
            features: features_of(dep, &on).into_iter().collect(),
        })
        .collect()
}

fn features_of(dep: &IndexDep, on: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut features: BTreeSet<String> = dep.features.iter().cloned().collect();
    if let Some(more) = on.get(dep.toml_name()) {
        features.extend(more.iter().cloned());
    }
    features
}

/// The dependencies that features turn on or ask something of, by their names in the manifest,
/// with the features that are asked of them.
///
/// `x?/feature` turns `x` on like `x/feature`: cargo's lockfiles are made so, although its builds
/// leave `x` out.
fn turned_on(
    release: &IndexRelease,
    features: &BTreeSet<String>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut on: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut stack: Vec<&str> = features.iter().map(String::as_str).collect();
    while let Some(spec) = stack.pop() {
        if !seen.insert(spec) {
            continue;
        }
        if let Some(dep) = spec.strip_prefix("dep:") {
            on.entry(dep.to_owned()).or_default();
        } else if let Some((dep, feature)) = spec.split_once('/') {
            let strong = !dep.ends_with('?');
            let dep = dep.trim_end_matches('?');
            on.entry(dep.to_owned())
                .or_default()
                .insert(feature.to_owned());
            // It also turns on the feature of the dependency's name, where there is one.
            if strong && release.features.contains_key(dep) {
                stack.push(dep);
            }
        } else if let Some(specs) = release.features.get(spec) {
            stack.extend(specs.iter().map(String::as_str));
        } else {
            // An optional dependency is a feature of its own name.
            on.entry(spec.to_owned()).or_default();
        }
    }
    on
}

#[cfg(test)]
#[path = "closure_tests.rs"]
mod tests;
