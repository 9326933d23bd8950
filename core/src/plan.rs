//! The plan: every selected crate, in a seeded order or in that of its selection, skipped ones with
//! their reason.

use std::collections::HashSet;

use indexmap::IndexMap;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::denylist::Denylist;
use crate::krate::{Crate, CrateId};
use crate::limits::Limits;
use crate::overrides::LimitOverrides;

/// What the denylist says of a crate that is run all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrateOptions {
    /// Its tests are built but not run, on either side.
    pub skip_tests: bool,
    /// It may be silent and idle for long: no no-progress limit.
    pub quiet: bool,
    /// Bounds of its own.
    #[serde(default, skip_serializing_if = "LimitOverrides::is_empty")]
    pub limits: LimitOverrides,
}

impl CrateOptions {
    /// The bounds of the crate's steps in an experiment with `limits`.
    pub fn limits(&self, limits: &Limits) -> Limits {
        let mut limits = self.limits.over(limits);
        if self.quiet {
            limits.no_progress_seconds = None;
        }
        limits
    }
}

/// Why a selected crate is not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Skip {
    /// The denylist says `skip`.
    Skipped {
        /// The reason that stands there.
        reason: String,
    },
    /// The denylist says `broken`: known not to build anywhere.
    Broken {
        /// The reason that stands there.
        reason: String,
    },
}

impl Skip {
    /// The reason that stands in the denylist.
    pub fn reason(&self) -> &str {
        match self {
            Self::Skipped { reason } | Self::Broken { reason } => reason,
        }
    }
}

/// One selected crate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanEntry {
    /// The crate.
    pub krate: Crate,
    /// Set when it is not run.
    pub skip: Option<Skip>,
    /// How it is run.
    pub options: CrateOptions,
}

/// All selected crates, in the order in which they are run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Every crate once.
    pub entries: Vec<PlanEntry>,
}

impl Plan {
    /// Makes the plan: drops repeats (the first one counts), shuffles by `seed`, and applies the
    /// denylist. The same selection, denylist and seed give the same plan everywhere.
    pub fn new(selected: Vec<Crate>, denylist: &Denylist, seed: u64) -> Self {
        let unique: IndexMap<CrateId, Crate> = selected
            .into_iter()
            .rev()
            .map(|krate| (krate.id(), krate))
            .collect();
        let mut crates: Vec<Crate> = unique.into_values().collect();
        crates.sort_by_key(Crate::id);
        shuffle(&mut crates, seed);
        Self::of(crates, denylist)
    }

    /// The same in the order of the selection, for one whose order says something: what is
    /// downloaded most comes first.
    pub fn in_order(selected: Vec<Crate>, denylist: &Denylist) -> Self {
        let mut seen = HashSet::new();
        let unique = selected.into_iter().filter(|krate| seen.insert(krate.id()));
        Self::of(unique.collect(), denylist)
    }

    fn of(crates: Vec<Crate>, denylist: &Denylist) -> Self {
        let entries = crates
            .into_iter()
            .map(|krate| {
                let (skip, options) = denylist.judge(&krate);
                PlanEntry {
                    krate,
                    skip,
                    options,
                }
            })
            .collect();
        Self { entries }
    }
}

/// Fisher and Yates, with a generator whose stream is specified (ChaCha8), so that a seed means
/// the same order on every machine and in every version.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for last in (1..items.len()).rev() {
        let at = rng.next_u64() % (last as u64 + 1);
        items.swap(
            last,
            usize::try_from(at).expect("at most the length of a slice"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::krate::{Checksum, CrateName, Source};

    fn krate(name: &str) -> Crate {
        Crate {
            name: CrateName::new(name).expect("valid"),
            version: semver::Version::new(1, 0, 0),
            source: Source::Registry {
                checksum: Checksum::new("a".repeat(64)).expect("hex"),
            },
        }
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.entries.iter().map(|e| e.krate.name.as_str()).collect()
    }

    fn alphabet() -> Vec<Crate> {
        ["a", "b", "c", "d", "e", "f", "g"].map(krate).to_vec()
    }

    #[test]
    fn a_seed_fixes_the_order_whatever_the_selection_order() {
        let none = Denylist::default();
        let mut backwards = alphabet();
        backwards.reverse();
        let one = Plan::new(alphabet(), &none, 7);
        assert_eq!(names(&one), names(&Plan::new(backwards, &none, 7)));
        assert_ne!(names(&one), names(&Plan::new(alphabet(), &none, 8)));
        insta::assert_snapshot!(names(&one).join(" "));
    }

    #[test]
    fn an_order_that_says_something_is_kept() {
        let mut backwards = alphabet();
        backwards.reverse();
        let twice = [backwards, alphabet()].concat();
        let plan = Plan::in_order(twice, &Denylist::default());
        assert_eq!(names(&plan).join(" "), "g f e d c b a");
    }

    #[test]
    fn options_without_limits_are_those_of_old() {
        let old = r#"{"skip_tests":false,"quiet":true}"#;
        let read: CrateOptions = serde_json::from_str(old).expect("what older versions stored");
        assert!(read.quiet && read.limits.is_empty());
        assert_eq!(serde_json::to_string(&read).expect("JSON"), old);
        let limits = Limits::default();
        let expected = Limits {
            no_progress_seconds: None,
            ..limits.clone()
        };
        assert_eq!(read.limits(&limits), expected);
    }

    #[test]
    fn options_keep_limits() {
        let options = CrateOptions {
            limits: LimitOverrides {
                wall_seconds: Some(3600),
                ..LimitOverrides::default()
            },
            ..CrateOptions::default()
        };
        let text = serde_json::to_string(&options).expect("JSON");
        assert_eq!(
            text,
            r#"{"skip_tests":false,"quiet":false,"limits":{"wall_seconds":3600}}"#
        );
        let read: CrateOptions = serde_json::from_str(&text).expect("just written");
        assert_eq!(read, options);
        assert_eq!(read.limits(&Limits::default()).wall_seconds, 3600);
    }

    #[test]
    fn repeats_are_planned_once() {
        let twice = [alphabet(), alphabet()].concat();
        assert_eq!(Plan::new(twice, &Denylist::default(), 1).entries.len(), 7);
    }

    #[test]
    fn a_skipped_crate_stays_in_the_plan_with_its_reason() {
        let denylist: Denylist = "[crates.b]\nskip = true\nreason = \"wants a GPU\"\n"
            .parse()
            .expect("valid");
        let plan = Plan::new(alphabet(), &denylist, 1);
        assert_eq!(plan.entries.len(), 7);
        let b = plan
            .entries
            .iter()
            .find(|e| e.krate.name.as_str() == "b")
            .expect("planned");
        assert_eq!(b.skip.as_ref().map(Skip::reason), Some("wants a GPU"));
    }
}
