//! The clusters of one experiment in another: which are new, which were seen before, which are
//! gone. For a candidate's second run, and for "first seen" in a line of candidates.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{CauseKind, ClusterId, similar};
use crate::outcome::PackageRef;

/// What is remembered of a cluster, so that it is known again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its identity.
    pub id: ClusterId,
    /// What kind of thing went wrong.
    pub kind: CauseKind,
    /// The package that fails, where it is the same for all crates.
    pub root: Option<PackageRef>,
    /// The code of the error.
    pub code: Option<String>,
    /// The normalised message.
    pub signature: String,
    /// The file.
    pub place: Option<String>,
}

/// Whether a cluster was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// Not in the earlier experiment.
    New,
    /// The same cause, word for word.
    Same,
    /// The same cause in other words: the earlier cluster's identity.
    Alike(ClusterId),
}

/// The comparison of two lists of clusters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// What each of the later clusters is to the earlier ones.
    pub now: BTreeMap<ClusterId, Sighting>,
    /// Earlier clusters that none of the later ones is. That a cluster is gone says that no crate
    /// of this experiment has it: look whether its crates were compared.
    pub gone: BTreeSet<ClusterId>,
}

/// Finds the clusters `now` among the `earlier` ones: by identity, or else as the most alike one
/// of the same kind, code and root with the same names between backticks. A cluster without one
/// root is compared with any, as more crates may have joined or left it; another version of a
/// package is another root.
pub fn compare(earlier: &[Known], now: &[Known]) -> History {
    let ids: BTreeSet<&ClusterId> = earlier.iter().map(|k| &k.id).collect();
    let mut blocks: BTreeMap<_, Vec<(&Known, Vec<String>)>> = BTreeMap::new();
    for known in earlier {
        let words = similar::words(&known.signature, known.place.as_deref());
        blocks.entry(block(known)).or_default().push((known, words));
    }
    let mut history = History::default();
    let mut found: BTreeSet<&ClusterId> = BTreeSet::new();
    for known in now {
        let sighting = if ids.contains(&known.id) {
            found.insert(&known.id);
            Sighting::Same
        } else if let Some(earlier) = most_alike(known, blocks.get(&block(known))) {
            found.insert(earlier);
            Sighting::Alike(earlier.clone())
        } else {
            Sighting::New
        };
        history.now.insert(known.id.clone(), sighting);
    }
    history.gone = ids.difference(&found).map(|id| (*id).clone()).collect();
    history
}

/// Kind, code, quoted names, and the place of a crash.
type Block<'a> = (CauseKind, Option<&'a str>, Vec<&'a str>, Option<&'a str>);

fn block(known: &Known) -> Block<'_> {
    let place = known.place.as_deref();
    (
        known.kind,
        known.code.as_deref(),
        similar::quoted(&known.signature),
        place.filter(|_| known.kind == CauseKind::Ice),
    )
}

fn most_alike<'a>(
    known: &Known,
    earlier: Option<&Vec<(&'a Known, Vec<String>)>>,
) -> Option<&'a ClusterId> {
    let words = similar::words(&known.signature, known.place.as_deref());
    let fits = |a: Option<&PackageRef>, b: Option<&PackageRef>| match (a, b) {
        (Some(a), Some(b)) => a == b,
        (None, _) | (_, None) => true,
    };
    earlier?
        .iter()
        .filter(|(other, _)| fits(known.root.as_ref(), other.root.as_ref()))
        .filter_map(|(other, w)| Some((similar::alike(&words, w)?, &other.id)))
        .max_by(|(a, x), (b, y)| a.cmp(b).then_with(|| y.cmp(x)))
        .map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ClusterId {
        ClusterId(text.to_owned())
    }

    fn package(version: &str) -> PackageRef {
        PackageRef {
            name: "time".to_owned(),
            version: version.parse().ok(),
        }
    }

    fn known(id: &ClusterId, root: Option<&PackageRef>, signature: &str) -> Known {
        Known {
            id: id.clone(),
            kind: CauseKind::Error,
            root: root.cloned(),
            code: Some("E0282".to_owned()),
            signature: signature.to_owned(),
            place: None,
        }
    }

    #[test]
    fn clusters_are_new_the_same_alike_or_gone() {
        let (old, newer, other) = (package("0.3.20"), package("0.3.34"), package("1.0.0"));
        let ids = ["a", "b", "c", "d", "e", "f"].map(id);
        let text = "type annotations needed for `Box<_>` in this place";
        let earlier = [
            known(&ids[0], Some(&old), text),
            known(&ids[1], Some(&newer), text),
            known(&ids[2], None, "something else of `x`"),
        ];
        let now = [
            known(&ids[0], Some(&old), text),
            known(
                &ids[3],
                Some(&newer),
                "type annotations needed for `Box<_>` in that place",
            ),
            known(
                &ids[4],
                Some(&newer),
                "type annotations needed for `Vec<_>` in this place",
            ),
            known(&ids[5], Some(&other), "something else in `x`"),
        ];
        let history = compare(&earlier, &now);
        let sightings: Vec<&Sighting> = history.now.values().collect();
        assert_eq!(
            sightings,
            [
                &Sighting::Same,
                &Sighting::Alike(id("b")),
                &Sighting::New,
                &Sighting::New,
            ]
        );
        assert_eq!(history.gone, [id("c")].into());
        assert_eq!(compare(&earlier, &earlier).gone, BTreeSet::new());
        assert_eq!(compare(&[], &[]), History::default());
    }

    #[test]
    fn a_cluster_that_more_crates_joined_is_the_same_one() {
        let root = package("0.3.34");
        let ids = ["a", "b"].map(id);
        let text = "lifetime may not live long enough";
        let earlier = [known(&ids[0], Some(&root), text)];
        let now = [known(&ids[1], None, text)];
        assert_eq!(
            compare(&earlier, &now).now[&ids[1]],
            Sighting::Alike(id("a"))
        );
    }
}
