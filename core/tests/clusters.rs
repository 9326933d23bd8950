//! Real messages of real compilers, and the clusters that they must make.
//!
//! Each `core/tests/clusters/NAME.toml` is a fixture: crates, what was compiled of them, and the
//! clusters that are expected. What the compilers said is in `NAME.json`, made by `make.py`; what
//! people reported elsewhere stands in the fixture as it was printed. It goes the way of every
//! job: through cargo's messages, the reader of a step, the comparison of units, the causes.
//! `docs/clusters.md` says how to add one.

#[path = "clusters/fixture.rs"]
mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ejecta_core::cluster::{Cause, Cluster, Weight, group_weighted};
use ejecta_core::krate::CrateId;
use fixture::{Changes, Expected, Fixture};

type Causes = Vec<(CrateId, Vec<Cause>)>;

fn cluster(crates: Causes) -> Vec<Cluster> {
    group_weighted(crates, |_| Weight::default())
}

fn all() -> Vec<Fixture> {
    let all = fixture::all();
    assert!(all.len() >= 25, "only {} fixtures", all.len());
    all
}

/// Names of the crates of a cluster.
fn names(fixture: &Fixture, ids: &[CrateId]) -> Vec<String> {
    ids.iter().map(|id| fixture.name_of(id)).collect()
}

/// The clusters as the fixture would say them.
fn actual(fixture: &Fixture, clusters: &[Cluster]) -> Vec<Expected> {
    let first = |id| clusters.iter().find(|c| c.id == id);
    clusters
        .iter()
        .map(|c| Expected {
            root: c
                .root
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            code: c.cause.code.clone(),
            signature: c.cause.signature.clone(),
            place: c.cause.place.clone(),
            crates: names(fixture, &c.crates),
            also: names(fixture, &c.also),
            related: c
                .related
                .iter()
                .filter_map(|id| first(id.clone()))
                .flat_map(|c| names(fixture, &c.crates).into_iter().take(1))
                .collect(),
        })
        .collect()
}

fn written(expected: &[Expected]) -> String {
    expected.iter().fold(String::new(), |mut out, e| {
        let _ = writeln!(out, "[[cluster]]\n{}", toml::to_string(e).expect("plain"));
        out
    })
}

#[test]
fn every_fixture_makes_its_clusters() {
    let mut wrong = String::new();
    for fixture in all() {
        let clusters = cluster(fixture.causes(&Changes::default()));
        let (got, wanted) = (
            written(&actual(&fixture, &clusters)),
            written(&fixture.cluster),
        );
        if got != wanted {
            let name = &fixture.name;
            let _ = writeln!(wrong, "## {name} is\n{got}\n## and should be\n{wanted}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Which crates are together under which identity, whatever the order.
fn sets(clusters: &[Cluster]) -> BTreeMap<String, (BTreeSet<CrateId>, BTreeSet<CrateId>, String)> {
    let set = |ids: &[CrateId]| ids.iter().cloned().collect();
    clusters
        .iter()
        .map(|c| {
            let shown = format!("{:?} {:?} {:?}", c.root, c.cause, c.related);
            (c.id.to_string(), (set(&c.crates), set(&c.also), shown))
        })
        .collect()
}

#[test]
fn the_order_of_crates_plays_no_role() {
    for fixture in all() {
        let causes = fixture.causes(&Changes::default());
        let expected = sets(&cluster(causes.clone()));
        let mut turned = causes.clone();
        turned.reverse();
        assert_eq!(sets(&cluster(turned)), expected, "{}", fixture.name);
        for n in 1..causes.len() {
            let mut turned = causes.clone();
            turned.rotate_left(n);
            assert_eq!(sets(&cluster(turned)), expected, "{}", fixture.name);
        }
    }
}

/// A whole experiment of all fixtures at once: none disturbs another.
#[test]
fn clusters_of_clusters_are_the_same() {
    let mut whole: Causes = Vec::new();
    for fixture in all() {
        let causes = fixture.causes(&Changes::default());
        let again = again(&causes);
        assert_eq!(again, members(&cluster(causes.clone())), "{}", fixture.name);
        whole.extend(causes);
    }
    let mut seen = BTreeSet::new();
    whole.retain(|(id, _)| seen.insert(id.clone()));
    assert_eq!(again(&whole), members(&cluster(whole.clone())));
}

fn members(clusters: &[Cluster]) -> BTreeSet<(String, Vec<CrateId>)> {
    let member = |c: &Cluster| (c.id.to_string(), c.crates.clone());
    clusters
        .iter()
        .map(member)
        .filter(|(_, crates)| !crates.is_empty())
        .collect()
}

/// Every crate has the cause of its cluster, and no other: what comes out then?
fn again(causes: &Causes) -> BTreeSet<(String, Vec<CrateId>)> {
    let clusters = cluster(causes.clone());
    let of = |id: &CrateId| clusters.iter().find(|c| c.crates.contains(id));
    let again: Causes = causes
        .iter()
        .filter_map(|(id, causes)| {
            let cluster = of(id)?;
            let text = &cluster.cause.signature;
            let cause = Cause {
                signature: text.clone(),
                general: text.clone(),
                place: cluster.cause.place.clone(),
                ..causes[0].clone()
            };
            Some((id.clone(), vec![cause]))
        })
        .collect();
    members(&cluster(again))
}

fn ids(clusters: &[Cluster]) -> BTreeSet<String> {
    clusters.iter().map(|c| c.id.to_string()).collect()
}

#[test]
fn identities_stay_under_other_lines_and_directories() {
    for fixture in all() {
        let moved = Changes {
            moved: true,
            renamed: false,
        };
        assert_eq!(
            ids(&cluster(fixture.causes(&moved))),
            ids(&cluster(fixture.causes(&Changes::default()))),
            "{}",
            fixture.name
        );
    }
}

#[test]
fn identities_stay_under_other_names_of_the_crates() {
    for fixture in all() {
        let renamed = Changes {
            moved: false,
            renamed: true,
        };
        // What is told of one package only has its name in its identity.
        let shared = |clusters: Vec<Cluster>| -> BTreeSet<String> {
            let shared = |c: &Cluster| c.cause.shared;
            ids(&clusters.into_iter().filter(shared).collect::<Vec<_>>())
        };
        assert_eq!(
            shared(cluster(fixture.causes(&renamed))),
            shared(cluster(fixture.causes(&Changes::default()))),
            "{}",
            fixture.name
        );
    }
}
