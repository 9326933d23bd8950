//! All crates of a registry at one moment: their newest releases, how often they are downloaded,
//! and which depends on which.
//!
//! A snapshot is made from a database dump ([`crate::dump`]) or from a checkout of an index
//! ([`crate::walk`]), and kept on disk in a form of its own ([`file`]). It answers without a
//! request.

use std::collections::{BTreeMap, HashMap, HashSet};

use ejecta_core::krate::{Checksum, CrateName, Release};
use ejecta_core::selection::Reach;
use jiff::Timestamp;
use semver::{Version, VersionReq};

pub(crate) mod file;

/// All crates of a registry at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    taken: Option<Timestamp>,
    downloads_known: bool,
    /// By canonical name.
    crates: Vec<KnownCrate>,
    /// The requirements that edges refer to, each once.
    requirements: Vec<String>,
    by_name: HashMap<String, u32>,
    /// For each crate, those that depend on it.
    dependents: Vec<Vec<u32>>,
}

/// A crate of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCrate {
    /// The name in the author's spelling.
    pub name: CrateName,
    /// The release that a person means who names no version; none where all are yanked.
    pub newest: Option<KnownRelease>,
    /// Downloads of all its releases together.
    pub downloads: u64,
    /// What its newest release needs, except by tests, examples and benches; by the order of the
    /// crates that are needed.
    pub(crate) needs: Vec<Need>,
}

/// A release as a snapshot knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRelease {
    /// The full version, build metadata included.
    pub version: Version,
    /// SHA-256 of its `.crate` file, where the dump had it.
    pub checksum: Option<Checksum>,
}

/// A dependency, by numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Need {
    /// Which crate.
    pub(crate) on: u32,
    /// Which requirement.
    pub(crate) requirement: u32,
}

/// A crate that depends on another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependent<'a> {
    /// The crate.
    pub krate: &'a KnownCrate,
    /// What it requires of the other one; `None` where it depends on it only through others.
    pub requirement: Option<&'a str>,
}

impl KnownCrate {
    /// The newest release, where its checksum is known.
    pub fn release(&self) -> Option<Release> {
        let newest = self.newest.as_ref()?;
        Some(Release {
            name: self.name.clone(),
            version: newest.version.clone(),
            checksum: newest.checksum.clone()?,
        })
    }
}

impl Snapshot {
    /// Puts a snapshot together. `crates` are in any order, and their needs refer to it.
    pub(crate) fn new(
        taken: Option<Timestamp>,
        downloads_known: bool,
        crates: Vec<KnownCrate>,
        requirements: Vec<String>,
    ) -> Self {
        let mut order: Vec<u32> = (0..number(crates.len())).collect();
        let canonical: Vec<String> = crates.iter().map(|k| k.name.canonical()).collect();
        order.sort_by(|a, b| canonical[*a as usize].cmp(&canonical[*b as usize]));
        let mut place = vec![0; crates.len()];
        for (at, old) in order.iter().enumerate() {
            place[*old as usize] = number(at);
        }
        let mut crates: Vec<Option<KnownCrate>> = crates.into_iter().map(Some).collect();
        let crates = order.iter().map(|old| {
            let mut krate = crates[*old as usize]
                .take()
                .expect("each place is taken once");
            for need in &mut krate.needs {
                need.on = place[need.on as usize];
            }
            krate.needs.sort_unstable();
            krate.needs.dedup();
            krate
        });
        Self::sorted(taken, downloads_known, crates.collect(), requirements)
    }

    /// The same for crates that are in their order.
    fn sorted(
        taken: Option<Timestamp>,
        downloads_known: bool,
        crates: Vec<KnownCrate>,
        requirements: Vec<String>,
    ) -> Self {
        let mut dependents = vec![Vec::new(); crates.len()];
        let mut by_name = HashMap::with_capacity(crates.len());
        for (at, krate) in crates.iter().enumerate() {
            let at = number(at);
            by_name.insert(krate.name.canonical(), at);
            for need in &krate.needs {
                let of: &mut Vec<u32> = &mut dependents[need.on as usize];
                // A crate may need another one twice: for two platforms, say.
                if of.last() != Some(&at) {
                    of.push(at);
                }
            }
        }
        Self {
            taken,
            downloads_known,
            crates,
            requirements,
            by_name,
            dependents,
        }
    }

    /// When the registry wrote the dump; `None` for a checkout of an index, which does not say.
    pub fn taken(&self) -> Option<Timestamp> {
        self.taken
    }

    /// Whether downloads are known: an index has none.
    pub fn downloads_known(&self) -> bool {
        self.downloads_known
    }

    /// The crate of a name, in whatever spelling.
    pub fn find(&self, name: &CrateName) -> Option<&KnownCrate> {
        self.at(name).map(|at| &self.crates[at as usize])
    }

    /// The crates that have a release which can be chosen, by name.
    pub fn usable(&self) -> Vec<&KnownCrate> {
        self.crates.iter().filter(|k| k.newest.is_some()).collect()
    }

    /// At most `count` of them, the most downloaded first; by name where two are equal.
    pub fn top(&self, count: usize) -> Vec<&KnownCrate> {
        let mut all = self.usable();
        all.sort_by_key(|krate| std::cmp::Reverse(krate.downloads));
        all.truncate(count);
        all
    }

    /// The usable crates that depend on `name`, by name; of the direct ones only those whose
    /// requirement takes `version`, where one is given. `None` where there is no such crate.
    pub fn dependents(
        &self,
        name: &CrateName,
        version: Option<&Version>,
        reach: Reach,
    ) -> Option<Vec<Dependent<'_>>> {
        let of = self.at(name)?;
        let mut found = BTreeMap::new();
        for at in &self.dependents[of as usize] {
            let wanted = self.requirements_on(*at, of);
            let takes = |text: &&str| version.is_none_or(|v| takes(text, v));
            if let Some(requirement) = wanted.into_iter().find(takes) {
                found.insert(*at, Some(requirement));
            }
        }
        if reach == Reach::All {
            let mut next: Vec<u32> = found.keys().copied().collect();
            while let Some(at) = next.pop() {
                for further in &self.dependents[at as usize] {
                    if *further != of && !found.contains_key(further) {
                        found.insert(*further, None);
                        next.push(*further);
                    }
                }
            }
        }
        // A cycle through dev-dependencies is not seen here, one through others cannot be.
        found.remove(&of);
        let found = found.into_iter().map(|(at, requirement)| Dependent {
            krate: &self.crates[at as usize],
            requirement,
        });
        Some(found.filter(|d| d.krate.newest.is_some()).collect())
    }

    /// The numbers of the crates that depend directly on a crate, each once. They mean something
    /// only within one snapshot.
    pub fn dependent_numbers(&self, name: &CrateName) -> &[u32] {
        let at = self.at(name);
        at.map_or(&[], |at| &self.dependents[at as usize])
    }

    fn at(&self, name: &CrateName) -> Option<u32> {
        self.by_name.get(&name.canonical()).copied()
    }

    fn requirements_on(&self, of: u32, on: u32) -> Vec<&str> {
        let needs = self.crates[of as usize].needs.iter();
        let needs: HashSet<u32> = needs
            .filter(|n| n.on == on)
            .map(|n| n.requirement)
            .collect();
        let mut texts: Vec<&str> = needs
            .into_iter()
            .map(|n| self.requirements[n as usize].as_str())
            .collect();
        texts.sort_unstable();
        texts
    }
}

/// Whether a requirement takes a version. One that cannot be read takes none.
fn takes(requirement: &str, version: &Version) -> bool {
    requirement
        .parse::<VersionReq>()
        .is_ok_and(|requirement| requirement.matches(version))
}

/// The place of a crate or a requirement as the snapshot keeps it.
pub(crate) fn number(at: usize) -> u32 {
    u32::try_from(at).expect("no registry has four thousand million crates")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `name`, downloads, the crates it needs by their place in the list, with requirement 0.
    pub(crate) fn snapshot(crates: &[(&str, u64, &[u32])]) -> Snapshot {
        let known = crates.iter().map(|(name, downloads, needs)| KnownCrate {
            name: CrateName::new(*name).expect("a name"),
            newest: Some(KnownRelease {
                version: Version::new(1, 0, 0),
                checksum: Some(Checksum::new("ab".repeat(32)).expect("hex")),
            }),
            downloads: *downloads,
            needs: needs
                .iter()
                .map(|on| Need {
                    on: *on,
                    requirement: 0,
                })
                .collect(),
        });
        let requirements = vec!["^1.0".to_owned()];
        Snapshot::new(None, true, known.collect(), requirements)
    }

    fn names<'a>(crates: impl IntoIterator<Item = &'a KnownCrate>) -> String {
        let names = crates.into_iter().map(|k| k.name.as_str());
        names.collect::<Vec<_>>().join(" ")
    }

    fn named(name: &str) -> CrateName {
        CrateName::new(name).expect("a name")
    }

    fn four() -> Snapshot {
        snapshot(&[
            ("zeta", 5, &[3]),
            ("Mid-way", 9, &[0, 3, 3]),
            ("alone", 9, &[]),
            ("base", 100, &[]),
            ("far", 1, &[1]),
        ])
    }

    #[test]
    fn the_most_downloaded_come_first() {
        let all = four();
        assert_eq!(names(all.top(3)), "base alone Mid-way");
        assert_eq!(all.top(99).len(), 5);
        assert_eq!(names(all.usable()), "alone base far Mid-way zeta");
    }

    #[test]
    fn dependents_are_direct_or_all() {
        let all = four();
        let of = |name: &str, version: Option<&str>, reach| {
            let version = version.map(|v| v.parse().expect("a version"));
            let found = all.dependents(&named(name), version.as_ref(), reach);
            found.map(|found| names(found.into_iter().map(|d| d.krate)))
        };
        let direct = |name| of(name, None, Reach::Direct);
        assert_eq!(direct("base").as_deref(), Some("Mid-way zeta"));
        assert_eq!(direct("mid_way").as_deref(), Some("far"));
        assert_eq!(direct("far").as_deref(), Some(""));
        assert_eq!(direct("nothing"), None);
        assert_eq!(
            of("base", None, Reach::All).as_deref(),
            Some("far Mid-way zeta")
        );
        assert_eq!(of("base", Some("1.2.0"), Reach::Direct), direct("base"));
        assert_eq!(of("base", Some("2.0.0"), Reach::All).as_deref(), Some(""));
        assert_eq!(all.dependent_numbers(&named("base")).len(), 2);
        assert!(all.dependent_numbers(&named("nothing")).is_empty());
    }

    #[test]
    fn a_crate_without_a_usable_release_is_known_and_never_chosen() {
        let mut all = four();
        all.crates[4].newest = None;
        assert_eq!(names(all.usable()), "alone base far Mid-way");
        assert!(all.find(&named("ZETA")).is_some());
        let found = all.dependents(&named("base"), None, Reach::Direct);
        assert_eq!(found.expect("known").len(), 1);
    }
}
