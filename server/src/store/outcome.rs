//! What came of jobs: counts, results, and what is new among them.

use std::collections::BTreeMap;

use ejecta_core::compare::Verdict;
use ejecta_core::job::{JobId, LeaseId};
use ejecta_core::mode::Scope;
use ejecta_core::outcome::JobRecord;
use ejecta_core::plan::PlanEntry;
use ejecta_core::retry::TierVerdict;
use serde::Serialize;

/// How many jobs of an experiment are in which state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Tier by tier, in the order in which they run.
    pub tiers: Vec<TierCounts>,
}

impl Counts {
    fn sum(&self, of: impl Fn(&TierCounts) -> u64) -> u64 {
        self.tiers.iter().map(of).sum()
    }

    /// All jobs.
    pub fn total(&self) -> u64 {
        self.sum(|t| t.queued + t.leased + t.finished + t.errors)
    }

    /// Jobs that are queued or leased.
    pub fn unfinished(&self) -> u64 {
        self.sum(|t| t.queued + t.leased)
    }

    /// Jobs with a result.
    pub fn finished(&self) -> u64 {
        self.sum(|t| t.finished)
    }

    /// Jobs that were given up.
    pub fn errors(&self) -> u64 {
        self.sum(|t| t.errors)
    }
}

/// How many jobs of a tier are in which state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TierCounts {
    /// The tier.
    pub tier: Scope,
    /// Waiting.
    pub queued: u64,
    /// Leased, expired leases included.
    pub leased: u64,
    /// With a result.
    pub finished: u64,
    /// Given up.
    pub errors: u64,
}

/// How many jobs of each tier came out in which way; those that were given up are errors. Tiers
/// and verdicts without any are not there.
pub type VerdictCounts = BTreeMap<Scope, BTreeMap<Verdict, u64>>;

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// It waits.
    Queued,
    /// An agent has it.
    Leased,
    /// It has a result.
    Finished {
        /// The result.
        record: Box<JobRecord>,
    },
    /// Given up: *we* could not produce an outcome.
    Error {
        /// The last thing that went wrong, for people.
        message: String,
    },
}

/// One tier of one crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierResult {
    /// The tier.
    pub tier: Scope,
    /// How often the job was granted, without the grants that did not count.
    pub attempts: u32,
    /// How far it is.
    pub state: JobState,
    /// Under which lease it was finished: where its logs are.
    pub lease: Option<LeaseId>,
}

/// One crate of a plan with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryResult {
    /// The crate as planned.
    pub entry: PlanEntry,
    /// Its tiers, in their order; none for a crate that is skipped.
    pub tiers: Vec<TierResult>,
}

/// One crate of a plan with its verdicts only: what lists and retries need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryVerdicts {
    /// The crate as planned.
    pub entry: PlanEntry,
    /// Its tiers, in their order; none for a crate that is skipped.
    pub tiers: Vec<TierVerdict>,
}

/// A job that was finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Its place in the order of all results of the store, from 1, with gaps.
    pub number: i64,
    /// The job.
    pub job: JobId,
    /// What came out.
    pub verdict: Verdict,
    /// Who did it.
    pub agent: String,
    /// The lease under which it was done: where its logs are.
    pub lease: LeaseId,
}

/// A job that was given up: *we* could not produce an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The job.
    pub job: JobId,
    /// How often it was granted, without the grants that did not count.
    pub attempts: u32,
    /// Who had it last; empty where nobody is known.
    pub agent: String,
    /// The last thing that went wrong, for people.
    pub message: String,
}
