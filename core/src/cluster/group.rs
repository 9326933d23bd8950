//! Puts crates with one cause together, and the clusters in an order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::similar::{self, Item};
use super::{Cause, CauseKind, Cluster, ClusterId};
use crate::krate::CrateId;
use crate::outcome::PackageRef;

/// How many related clusters are named.
const MAX_RELATED: usize = 20;

/// What a crate, or all crates of a cluster together, mean to others. Unknown is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Weight {
    /// How many crates depend on it.
    pub dependents: Option<u64>,
    /// How often it was downloaded.
    pub downloads: Option<u64>,
}

impl Weight {
    /// What a crate counts when clusters are ranked: four, and one more for each doubling of its
    /// dependents, and for each hundredfold of its downloads. So a crate that everything needs
    /// counts as five or six that nobody does, and never as thousands.
    fn points(self) -> u64 {
        let doublings = |n: u64| u64::from(u64::BITS - n.leading_zeros());
        let dependents = doublings(self.dependents.unwrap_or(0));
        4 + dependents + doublings(self.downloads.unwrap_or(0)) / 7
    }

    fn and(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
        };
        Self {
            dependents: sum(self.dependents, other.dependents),
            downloads: sum(self.downloads, other.downloads),
        }
    }
}

/// Groups crates with one cause each, all of equal weight; see [`group_weighted`].
pub fn group(causes: impl IntoIterator<Item = (CrateId, Cause)>) -> Vec<Cluster> {
    let one = causes
        .into_iter()
        .map(|(krate, cause)| (krate, vec![cause]));
    group_weighted(one, |_| Weight::default())
}

/// Groups crates by their causes, the first cause of each being the one that matters most.
///
/// A crate belongs to the cluster of its first cause and is an `also` of its others. A cause that
/// only follows from another of the same compilation makes no cluster by itself: it counts where
/// it is somebody's first. Neither the order of the crates nor that of equal crates changes which
/// clusters there are.
///
/// The cluster with the most crates is first, where each crate counts by what `weight` says of it;
/// then by code, signature and root, so that clusters that look alike stand together.
pub fn group_weighted(
    crates: impl IntoIterator<Item = (CrateId, Vec<Cause>)>,
    weight: impl Fn(&CrateId) -> Weight,
) -> Vec<Cluster> {
    let crates: Vec<(CrateId, Vec<Cause>)> = crates.into_iter().collect();
    let failing: BTreeSet<&PackageRef> = crates
        .iter()
        .flat_map(|(_, causes)| causes)
        .filter(|c| !c.own && c.kind == CauseKind::Error)
        .map(|c| &c.root)
        .collect();
    let filed: Vec<Vec<Filing>> = crates
        .iter()
        .map(|(_, causes)| causes.iter().map(|c| Filing::new(c, &failing)).collect())
        .collect();
    let led = merge(&filed);
    let mut drafts: BTreeMap<&Filing, Draft> = BTreeMap::new();
    for ((krate, causes), filings) in crates.iter().zip(&filed) {
        let mut mine: BTreeSet<&Filing> = BTreeSet::new();
        for (n, (cause, filing)) in causes.iter().zip(filings).enumerate() {
            let leader = led.get(filing).copied().unwrap_or(filing);
            let draft = drafts.entry(leader).or_default();
            draft.roots.insert(&cause.root);
            draft.stands |= n == 0 || !cause.follows;
            let is_shown = |(shown, _): &(&CrateId, &Cause)| *shown <= krate;
            if filing == leader && !draft.shown.as_ref().is_some_and(is_shown) {
                draft.shown = Some((krate, cause));
            }
            if mine.insert(leader) {
                let list = if n == 0 {
                    &mut draft.crates
                } else {
                    &mut draft.also
                };
                list.push(krate);
            }
        }
    }
    drafts.retain(|_, draft| draft.stands);
    let mut clusters: Vec<(u64, Cluster)> = drafts
        .into_iter()
        .filter_map(|(filing, draft)| draft.finish(filing, &weight))
        .collect();
    clusters.sort_by_cached_key(|(points, cluster)| {
        let Cause {
            code,
            signature,
            root,
            place,
            ..
        } = cluster.cause.clone();
        let all = cluster.crates.len() + cluster.also.len();
        (
            Reverse(*points),
            Reverse(all),
            code,
            signature,
            root,
            place,
            cluster.id.clone(),
        )
    });
    let mut clusters: Vec<Cluster> = clusters.into_iter().map(|(_, cluster)| cluster).collect();
    relate(&mut clusters);
    clusters
}

/// What makes two causes equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Filing {
    kind: CauseKind,
    /// The package, where it is part of the cause.
    scope: Option<PackageRef>,
    code: Option<String>,
    text: String,
    place: Option<String>,
}

impl Filing {
    /// A crate that fails in itself shares its cause with others, and the names of its items play
    /// no role; unless it is also a dependency of some crate here and fails there too: then they
    /// are one, and the package is its root. Crashes are the compiler's, whatever it compiled.
    fn new(cause: &Cause, failing: &BTreeSet<&PackageRef>) -> Self {
        let by_package = match cause.kind {
            CauseKind::Ice => false,
            CauseKind::Error => !cause.own || failing.contains(&cause.root),
            CauseKind::Test | CauseKind::Warnings | CauseKind::Limit | CauseKind::Other => {
                !cause.own || !cause.shared
            }
        };
        let text = if by_package {
            &cause.signature
        } else {
            &cause.general
        };
        let placed = by_package || cause.kind == CauseKind::Ice;
        Self {
            kind: cause.kind,
            scope: by_package.then(|| cause.root.clone()),
            code: cause.code.clone(),
            text: text.clone(),
            place: cause.place.clone().filter(|_| placed),
        }
    }

    fn id(&self) -> ClusterId {
        let scope = self.scope.as_ref().map(PackageRef::to_string);
        let text = [
            self.kind.name(),
            scope.as_deref().unwrap_or(""),
            self.code.as_deref().unwrap_or(""),
            &self.text,
            self.place.as_deref().unwrap_or(""),
        ]
        .join("\n");
        ClusterId(format!("{:016x}", fnv1a(text.as_bytes())))
    }

    /// Only filings of one block are compared. A crash is where it is: its place is never merged.
    fn block(&self) -> Block<'_> {
        Block {
            kind: self.kind,
            scope: self.scope.as_ref(),
            code: self.code.as_deref(),
            quoted: similar::quoted(&self.text),
            place: self
                .place
                .as_deref()
                .filter(|_| self.kind == CauseKind::Ice),
        }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Block<'a> {
    kind: CauseKind,
    scope: Option<&'a PackageRef>,
    code: Option<&'a str>,
    quoted: Vec<&'a str>,
    place: Option<&'a str>,
}

/// For each filing that is not its own leader, its leader.
fn merge(filed: &[Vec<Filing>]) -> BTreeMap<&Filing, &Filing> {
    let mut counts: BTreeMap<&Filing, usize> = BTreeMap::new();
    for filings in filed {
        for filing in filings.iter().collect::<BTreeSet<_>>() {
            *counts.entry(filing).or_default() += 1;
        }
    }
    let mut blocks: BTreeMap<Block<'_>, Vec<(&Filing, usize)>> = BTreeMap::new();
    for (filing, crates) in counts {
        blocks
            .entry(filing.block())
            .or_default()
            .push((filing, crates));
    }
    let mut led = BTreeMap::new();
    for members in blocks.into_values().filter(|m| m.len() > 1) {
        let items: Vec<Item> = members
            .iter()
            .map(|(filing, crates)| Item {
                words: similar::words(&filing.text, filing.place.as_deref()),
                crates: *crates,
                tie: format!("{}\n{}", filing.text, filing.place.as_deref().unwrap_or("")),
            })
            .collect();
        for ((filing, _), leader) in members.iter().zip(similar::leaders(&items)) {
            led.insert(*filing, members[leader].0);
        }
    }
    led
}

/// A cluster in the making.
#[derive(Default)]
struct Draft<'a> {
    crates: Vec<&'a CrateId>,
    also: Vec<&'a CrateId>,
    roots: BTreeSet<&'a PackageRef>,
    /// Whether it is anyone's first cause, or one that stands by itself.
    stands: bool,
    /// Whose error is shown.
    shown: Option<(&'a CrateId, &'a Cause)>,
}

impl Draft<'_> {
    fn finish(
        self,
        filing: &Filing,
        weight: &impl Fn(&CrateId) -> Weight,
    ) -> Option<(u64, Cluster)> {
        let (_, cause) = self.shown?;
        let all = || self.crates.iter().chain(&self.also);
        let total = all()
            .map(|k| weight(k))
            .fold(Weight::default(), Weight::and);
        let points = all().map(|k| weight(k).points()).sum();
        let one = self.roots.len() == 1;
        let root = self.roots.first().filter(|_| one).map(|r| (*r).clone());
        let owned = |list: &[&CrateId]| list.iter().map(|k| (*k).clone()).collect();
        let cluster = Cluster {
            id: filing.id(),
            cause: Cause {
                signature: filing.text.clone(),
                place: filing.place.clone(),
                ..cause.clone()
            },
            root: filing.scope.clone().or(root),
            crates: owned(&self.crates),
            also: owned(&self.also),
            related: Vec::new(),
            weight: total,
        };
        Some((points, cluster))
    }
}

/// Links clusters that look like one cause in two packages, or in two versions of one package.
fn relate(clusters: &mut [Cluster]) {
    let mut alike: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let specific = clusters.iter().enumerate().filter(|(_, c)| c.cause.shared);
    for (n, Cluster { cause, root, .. }) in specific {
        let (kind, code) = (cause.kind.name(), cause.code.as_deref().unwrap_or(""));
        let place = cause
            .place
            .as_deref()
            .filter(|_| cause.kind == CauseKind::Ice);
        let general = format!("{kind}\n{code}\n{}\n{place:?}", cause.general);
        alike.entry(general).or_default().push(n);
        if let Some(root) = root.as_ref().filter(|_| cause.kind == CauseKind::Error) {
            let quoted = similar::quoted(&cause.signature);
            let versions = format!("{kind}\n{code}\n{}\n{quoted:?}", root.name);
            alike.entry(versions).or_default().push(n);
        }
    }
    let mut related: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for group in alike.into_values().filter(|g| g.len() > 1) {
        // The largest are first: the others of a long list are linked to these alone.
        let first = &group[..group.len().min(MAX_RELATED)];
        for n in &group {
            let others = first.iter().filter(|other| *other != n);
            related.entry(*n).or_default().extend(others);
        }
    }
    let ids: Vec<ClusterId> = clusters.iter().map(|c| c.id.clone()).collect();
    for (n, others) in related {
        let others = others.into_iter().take(MAX_RELATED);
        clusters[n].related = others.map(|other| ids[other].clone()).collect();
    }
}

/// FNV-1a, 64 bits: a hash that is fixed for ever, unlike that of the standard library.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
