//! What is said of all crates of an experiment together, counted while they go by.

use std::collections::BTreeMap;

use super::model::{CrateResult, Results, TierResult};
use crate::compare::Verdict;
use crate::outcome::Side;

/// The bounds of [`Overall::durations`] in seconds: less than each, and more than the last.
pub const DURATIONS: [u64; 9] = [1, 2, 5, 10, 30, 60, 120, 300, 900];

/// Counts over all crates. Times are sums in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overall {
    /// All crates.
    pub crates: u64,
    /// Crates by verdict; every verdict is there.
    pub totals: BTreeMap<Verdict, u32>,
    /// Crates that count for the coverage.
    pub covered: u64,
    /// Crates with a tier that is not finished.
    pub unfinished: u64,
    /// Crates with a tier that was given up for an error of ours.
    pub errors: u64,
    /// Crates that were not run, because the denylist says so.
    pub denied: u64,
    /// Crates with bounds of their own, by the denylist.
    pub own_limits: u64,
    /// Crates whose jobs were granted more than once.
    pub retried: u64,
    /// Crates that were run again to confirm a difference.
    pub confirmed: u64,
    /// What each side cost.
    pub sides: BTreeMap<Side, SideCost>,
    /// What preparing cost.
    pub preparation: SideCost,
    /// The most memory of any run, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Crates that ran, by the wall-clock time of all their runs; see [`DURATIONS`].
    pub durations: [u64; DURATIONS.len() + 1],
}

/// What runs cost together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SideCost {
    /// How many.
    pub runs: u64,
    /// Wall-clock time.
    pub duration_ms: u64,
    /// CPU time, as far as it could be measured.
    pub cpu_ms: u64,
}

impl Overall {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            totals: Verdict::ALL.map(|v| (v, 0)).into(),
            sides: Side::BOTH.map(|side| (side, SideCost::default())).into(),
            ..Self::default()
        }
    }

    /// Of all these.
    pub fn of(crates: &[CrateResult]) -> Self {
        let mut overall = Self::new();
        crates.iter().for_each(|krate| overall.add(krate));
        overall
    }

    /// One more.
    pub fn add(&mut self, krate: &CrateResult) {
        let any = |verdict| krate.tiers.iter().any(|t| t.verdict == verdict);
        self.crates += 1;
        *self.totals.entry(krate.verdict).or_default() += 1;
        self.covered += u64::from(krate.covered);
        self.unfinished += u64::from(any(Verdict::Unknown));
        self.errors += u64::from(any(Verdict::Error));
        self.denied += u64::from(krate.skip.is_some());
        self.own_limits += u64::from(krate.limits.is_some());
        self.retried += u64::from(krate.attempts > 1);
        self.confirmed += u64::from(krate.tiers.iter().any(was_confirmed));
        self.add_costs(krate);
    }

    fn add_costs(&mut self, krate: &CrateResult) {
        for run in krate.tiers.iter().flat_map(|t| &t.runs) {
            let side = self.sides.entry(run.side).or_default();
            side.runs += 1;
            side.duration_ms += run.cost.duration_ms;
            side.cpu_ms += run.cost.cpu_ms.unwrap_or(0);
            self.peak_memory_bytes = self.peak_memory_bytes.max(run.cost.peak_memory_bytes);
        }
        for cost in krate.tiers.iter().filter_map(|t| t.preparation) {
            self.preparation.runs += 1;
            self.preparation.duration_ms += cost.duration_ms;
            self.preparation.cpu_ms += cost.cpu_ms.unwrap_or(0);
        }
        if let Some(ms) = duration(krate) {
            let bucket = DURATIONS.iter().position(|s| ms < s * 1000);
            self.durations[bucket.unwrap_or(DURATIONS.len())] += 1;
        }
    }

    /// How many crates have `verdict`.
    pub fn total(&self, verdict: Verdict) -> u32 {
        self.totals.get(&verdict).copied().unwrap_or(0)
    }

    /// The share of the crates that count for the coverage: 0 to 1; 0 where there are none.
    pub fn coverage(&self) -> f64 {
        if self.crates == 0 {
            0.0
        } else {
            self.covered as f64 / self.crates as f64
        }
    }

    /// Whether every crate that is to be run has a result in every tier.
    pub fn complete(&self) -> bool {
        self.unfinished == 0 && self.errors == 0
    }
}

impl Results {
    /// The counts over all crates.
    pub fn overall(&self) -> Overall {
        Overall::of(&self.crates)
    }
}

/// Milliseconds of all runs of a crate; `None` where it did not run.
pub fn duration(krate: &CrateResult) -> Option<u64> {
    let mut runs = krate.tiers.iter().flat_map(|t| &t.runs).peekable();
    runs.peek()?;
    Some(runs.map(|run| run.cost.duration_ms).sum())
}

/// Whether a difference was looked at again: the candidate ran twice with the same manifest.
fn was_confirmed(tier: &TierResult) -> bool {
    [false, true].iter().any(|dev| {
        let same =
            |r: &&super::model::RunResult| r.side == Side::Candidate && r.dev_dependencies == *dev;
        tier.runs.iter().filter(same).count() > 1
    })
}
