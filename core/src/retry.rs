//! A new experiment over the crates of another one that came out in chosen ways.

use serde::{Deserialize, Serialize};

use crate::compare::{self, Verdict};
use crate::experiment::ExperimentName;
use crate::mode::Scope;
use crate::plan::PlanEntry;

/// Where an experiment comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The experiment whose crates it takes.
    pub name: ExperimentName,
    /// The verdicts that were chosen.
    pub verdicts: Vec<Verdict>,
}

/// What is known of one tier of a crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierVerdict {
    /// The tier.
    pub tier: Scope,
    /// What came out; `None` while it has not ended.
    pub verdict: Option<Verdict>,
}

/// The verdict of a crate over its tiers: that of the report. A crate without tiers was skipped;
/// one with a tier that has not ended is unknown, unless the other tier is loud already.
pub fn crate_verdict(tiers: &[TierVerdict]) -> Verdict {
    let of = |tier: Scope| {
        tiers
            .iter()
            .find(|t| t.tier == tier)
            .map(|t| t.verdict.unwrap_or(Verdict::Unknown))
    };
    match (of(Scope::Lib), of(Scope::All)) {
        (Some(lib), all) => compare::merge_tiers(lib, all),
        (None, Some(all)) => all,
        (None, None) => Verdict::Skipped,
    }
}

/// The entries of a new plan: those of `crates` whose verdict is one of `verdicts`, in their order.
/// Crates that were skipped are not taken, whatever was asked.
pub fn select<'a>(
    crates: impl IntoIterator<Item = (&'a PlanEntry, Vec<TierVerdict>)>,
    verdicts: &[Verdict],
) -> Vec<PlanEntry> {
    crates
        .into_iter()
        .filter(|(entry, tiers)| entry.skip.is_none() && verdicts.contains(&crate_verdict(tiers)))
        .map(|(entry, _)| entry.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{BuildFail, Error, Regressed, Skipped, TestPass, Unknown};

    fn tier(tier: Scope, verdict: Option<Verdict>) -> TierVerdict {
        TierVerdict { tier, verdict }
    }

    #[test]
    fn tiers_are_merged_as_in_the_report() {
        let lib = |v| tier(Scope::Lib, v);
        let all = |v| tier(Scope::All, v);
        let table = [
            (vec![], Skipped),
            (vec![lib(None)], Unknown),
            (vec![lib(Some(TestPass))], TestPass),
            (vec![lib(Some(TestPass)), all(None)], Unknown),
            (vec![lib(Some(Regressed)), all(None)], Regressed),
            (vec![lib(Some(TestPass)), all(Some(Error))], Error),
            (vec![lib(Some(BuildFail)), all(Some(BuildFail))], BuildFail),
            (vec![all(Some(TestPass))], TestPass),
        ];
        for (tiers, expected) in table {
            assert_eq!(crate_verdict(&tiers), expected, "{tiers:?}");
        }
    }
}
