//! Jobs: what they are called, how leases fence them, and what a job does next.
//!
//! Everything here is a pure rule over values; stores and agents carry the rules out.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::compare::{self, UnitVerdict};
use crate::experiment::{BaselineRuns, Compare};
use crate::krate::CrateId;
use crate::mode::Scope;
use crate::outcome::{Run, Side};

/// How often a job is granted before it counts as an error of ours.
pub const MAX_ATTEMPTS: u32 = 3;

/// One crate in one tier of one experiment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobId {
    /// The crate.
    pub krate: CrateId,
    /// The tier: scope `lib` first, then scope `all`.
    pub tier: Scope,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.krate, self.tier)
    }
}

/// The right of one agent to run one job until a time. The text is random and never used again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub String);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A lease as the store keeps it beside its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its identity.
    pub id: LeaseId,
    /// When it ends unless a heartbeat extends it.
    pub until: Timestamp,
}

impl Lease {
    /// Whether the job may be granted anew.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.until <= now
    }
}

/// What a store knows of a job when a submission names a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Nobody: it waits in the queue.
    Nobody,
    /// This lease, expired or not: until the job is granted anew, its work is welcome.
    Lease(LeaseId),
    /// It is finished, by this lease.
    FinishedBy(LeaseId),
}

/// What becomes of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submission {
    /// It is the job's result.
    Commit,
    /// It was committed before: answer as the first time, and change nothing.
    Repeat,
    /// The lease has lost the job: refuse, and change nothing.
    Stale,
}

/// Decides on a submission that names `lease`: a stale lease never wins, a repeat is a success.
pub fn judge_submission(holder: &Holder, lease: &LeaseId) -> Submission {
    match holder {
        Holder::Lease(current) if current == lease => Submission::Commit,
        Holder::FinishedBy(by) if by == lease => Submission::Repeat,
        Holder::Nobody | Holder::Lease(_) | Holder::FinishedBy(_) => Submission::Stale,
    }
}

/// Whether a job that has been granted `attempts` times goes back to the queue after a failure of
/// ours, or is given up as an error.
pub fn may_retry(attempts: u32) -> bool {
    attempts < MAX_ATTEMPTS
}

/// The choices that decide how many runs a job needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunPolicy {
    /// When the baseline runs.
    pub baseline_runs: BaselineRuns,
    /// How often a difference is run again on both sides.
    pub confirmations: u32,
    /// What makes a difference.
    pub compare: Compare,
    /// What the tier does with the manifest's dev-dependencies.
    pub dev_dependencies: DevDependencies,
}

/// What a tier does with the dev-dependencies of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevDependencies {
    /// Keeps them: scope `all`.
    Kept,
    /// Leaves them out, and there are some: the job may be tried with them.
    LeftOut,
    /// Leaves them out, and there are none.
    Absent,
}

/// What a job does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Run this side, in a fresh sandbox.
    Run {
        /// The toolchain.
        side: Side,
        /// With dev-dependencies in the manifest.
        dev_dependencies: bool,
    },
    /// Nothing: the runs say all there is to say.
    Done,
}

/// Decides what a job does after `runs` (in the order in which they were made).
///
/// Candidate first; the baseline where the candidate did not pass (or always, or where it warns and
/// warnings are compared); then, where any unit, or test of one, or count of warnings differs, both again, interleaved, `confirmations` times, stopping as soon as nothing
/// differs any more. Where both sides fail in scope `lib` and dev-dependencies had been left out,
/// the whole is done again with them: some libraries compile only beside them.
pub fn next(runs: &[Run], policy: RunPolicy) -> Next {
    let kept = policy.dev_dependencies == DevDependencies::Kept;
    let with_dev = runs.last().map_or(kept, |r| r.dev_dependencies);
    let (candidates, baselines) = compare::in_variant(runs, with_dev);
    let run = |side| Next::Run {
        side,
        dev_dependencies: with_dev,
    };
    let Some(first) = candidates.first() else {
        return run(Side::Candidate);
    };
    if baselines.is_empty() {
        // A candidate that warns may warn of more than the baseline.
        let quiet = policy.compare == Compare::Outcomes || first.warning_codes().is_empty();
        let on_failure = policy.baseline_runs == BaselineRuns::OnFailure;
        return if first.passed() && on_failure && quiet {
            Next::Done
        } else {
            run(Side::Baseline)
        };
    }
    let units = compare::units(&baselines, &candidates);
    let differs = units
        .iter()
        .any(|u| matches!(u.verdict, UnitVerdict::Regressed | UnitVerdict::Fixed));
    let warns = policy.compare == Compare::Warnings
        && [(&baselines, &candidates), (&candidates, &baselines)]
            .iter()
            .any(|(less, more)| !compare::grown_warnings(less, more).is_empty());
    if differs || warns {
        let rounds = policy.confirmations as usize + 1;
        if candidates.len() < rounds && candidates.len() <= baselines.len() {
            return run(Side::Candidate);
        }
        if baselines.len() < candidates.len() {
            return run(Side::Baseline);
        }
        return Next::Done;
    }
    let failed_alike = candidates.len() == 1 && !first.passed() && !baselines[0].passed();
    if failed_alike && policy.dev_dependencies == DevDependencies::LeftOut && !with_dev {
        return Next::Run {
            side: Side::Candidate,
            dev_dependencies: true,
        };
    }
    Next::Done
}
