//! What a coordinator remembers: experiments, plans, the queue with its leases, and results.
//!
//! [`Store`] is a trait in the words of the domain; a backend carries out the rules of
//! [`ejecta_core::job`] in transactions and adds none of its own. A store has no clock and no
//! source of randomness: times and new lease ids are passed in. It knows nothing of HTTP, of logs
//! and of reports.
//!
//! Every verb is atomic, and what it has answered is durable. All calls may be made at once from
//! many tasks.

mod error;
mod sqlite;

use std::collections::BTreeMap;

use async_trait::async_trait;
use ejecta_core::experiment::{Experiment, ExperimentName};
use ejecta_core::job::{JobId, LeaseId};
use ejecta_core::krate::Crate;
use ejecta_core::mode::Scope;
use ejecta_core::outcome::JobRecord;
use ejecta_core::plan::{CrateOptions, PlanEntry};
use jiff::Timestamp;
use serde::Serialize;

pub use error::{Cause, ErrorClass, StoreError};
pub use sqlite::SqliteStore;

/// A request for jobs.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// Who asks.
    pub agent: &'a str,
    /// The ids of the leases to be granted, never used before; as many as jobs are wanted.
    pub leases: &'a [LeaseId],
    /// The time of the request.
    pub now: Timestamp,
    /// Until when the leases hold.
    pub until: Timestamp,
}

/// What came of a [`Claim`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The jobs granted, in the order in which they should run.
    pub granted: Vec<Granted>,
    /// The leases that had expired and were taken away on this occasion.
    pub lost: Vec<Lost>,
    /// Jobs of all experiments that are queued or leased now, those just granted included.
    pub unfinished: u64,
}

/// A job that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The lease.
    pub lease: LeaseId,
    /// The how-manieth grant of the job, from 1.
    pub attempt: u32,
    /// Whose job it is.
    pub experiment: ExperimentName,
    /// The crate.
    pub krate: Crate,
    /// The tier.
    pub tier: Scope,
    /// How it is run.
    pub options: CrateOptions,
}

impl Granted {
    /// What the job is called in its experiment.
    pub fn job(&self) -> JobId {
        JobId {
            krate: self.krate.id(),
            tier: self.tier,
        }
    }
}

/// A lease that expired and whose job was granted anew or given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Whose job it is.
    pub experiment: ExperimentName,
    /// The job.
    pub job: JobId,
    /// Who had it.
    pub agent: String,
    /// The attempt that was lost.
    pub attempt: u32,
    /// Whether it was the last attempt: the job is an error of ours now.
    pub given_up: bool,
}

/// Which of the leases that a heartbeat named hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// They hold until the new time.
    pub extended: Vec<LeaseId>,
    /// They are nobody's: finished, released, granted anew, or never granted.
    pub lost: Vec<LeaseId>,
}

/// The job that a lease holds, or has finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedJob {
    /// Whose job it is.
    pub experiment: ExperimentName,
    /// The job.
    pub job: JobId,
    /// Who holds it.
    pub agent: String,
    /// The attempt under this lease.
    pub attempt: u32,
    /// Whether its result is committed.
    pub finished: bool,
}

/// What came of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It is the job's result now, and durable; the counts are those after it.
    Committed(Counts),
    /// It was the job's result before; nothing was changed.
    Repeated,
    /// The lease has lost the job; nothing was changed.
    Stale,
}

/// Why a job is given back without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setback<'a> {
    /// It was not worked on: the attempt does not count.
    Unstarted,
    /// We failed, and another try may help, if attempts are left.
    Transient(&'a str),
    /// We failed, and another try would not help.
    Permanent(&'a str),
}

/// What came of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// The job waits in the queue again.
    Requeued(Counts),
    /// The job is an error of ours now.
    GivenUp(Counts),
    /// The lease has lost the job; nothing was changed.
    Stale,
}

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
}

/// One crate of a plan with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryResult {
    /// The crate as planned.
    pub entry: PlanEntry,
    /// Its tiers, in their order; none for a crate that is skipped.
    pub tiers: Vec<TierResult>,
}

/// What a coordinator remembers. See the module for what holds of every verb.
///
/// Each verb fails with a [`StoreError`] only: for the database's reasons, or because the named
/// experiment does not exist. Losing a race is an answer, never an error.
#[async_trait]
pub trait Store: Send + Sync {
    /// Keeps `experiment` with its plan, and queues a job for each tier of its scope and each
    /// entry that is not skipped: the first tier over the whole plan, then the next.
    async fn create_experiment(
        &self,
        experiment: &Experiment,
        plan: &[PlanEntry],
    ) -> Result<(), StoreError>;

    /// The experiment of that name.
    async fn experiment(&self, name: &ExperimentName) -> Result<Option<Experiment>, StoreError>;

    /// All experiments, in the order in which they were created.
    async fn experiments(&self) -> Result<Vec<Experiment>, StoreError>;

    /// The plan, in its order.
    async fn plan(&self, name: &ExperimentName) -> Result<Vec<PlanEntry>, StoreError>;

    /// Grants jobs: older experiments first, then tier by tier, then those that were tried least
    /// (so that a job which fails us holds up no other), then in the plan's order. A job whose
    /// lease has expired waits like a queued one, or is given up if its attempts are used up.
    async fn claim(&self, claim: &Claim<'_>) -> Result<Claimed, StoreError>;

    /// Extends those of `leases` that hold a job, expired or not, until `until`.
    async fn heartbeat(
        &self,
        leases: &[LeaseId],
        until: Timestamp,
    ) -> Result<Heartbeat, StoreError>;

    /// The job that `lease` holds or has finished; none for a lease that has lost it.
    async fn leased_job(&self, lease: &LeaseId) -> Result<Option<LeasedJob>, StoreError>;

    /// Makes `record` the result of the job that `lease` holds, by the rule of
    /// [`ejecta_core::job::judge_submission`].
    async fn submit(
        &self,
        lease: &LeaseId,
        record: &JobRecord,
        now: Timestamp,
    ) -> Result<Submitted, StoreError>;

    /// Gives the job that `lease` holds back.
    async fn release(&self, lease: &LeaseId, why: Setback<'_>) -> Result<Released, StoreError>;

    /// Gives back every leased job of the experiment without counting the attempt, because its
    /// agents are known to be dead; says how many there were.
    async fn requeue_leased(&self, name: &ExperimentName) -> Result<u64, StoreError>;

    /// Makes every job of the experiment that was given up wait again, as if it had never been
    /// tried, because somebody has mended what was wrong; says how many there were.
    async fn requeue_given_up(&self, name: &ExperimentName) -> Result<u64, StoreError>;

    /// How many jobs are in which state.
    async fn counts(&self, name: &ExperimentName) -> Result<Counts, StoreError>;

    /// At most `limit` crates of the plan from position `from` (counted from 0) on, with all that
    /// is known of each, in the plan's order; nothing beyond the plan's end.
    async fn results(
        &self,
        name: &ExperimentName,
        from: u64,
        limit: u32,
    ) -> Result<Vec<EntryResult>, StoreError>;

    /// Keeps a small fact about the experiment, in place of an older one with that key.
    async fn set_fact(
        &self,
        name: &ExperimentName,
        key: &str,
        value: &serde_json::Value,
    ) -> Result<(), StoreError>;

    /// All facts about the experiment.
    async fn facts(
        &self,
        name: &ExperimentName,
    ) -> Result<BTreeMap<String, serde_json::Value>, StoreError>;
}

/// How many crates [`all_results`] asks for at once.
const RESULTS_PAGE: u32 = 500;

/// All crates of the plan with all that is known of each, in memory at once.
///
/// # Errors
/// As [`Store::results`].
pub async fn all_results(
    store: &dyn Store,
    name: &ExperimentName,
) -> Result<Vec<EntryResult>, StoreError> {
    let mut all = Vec::new();
    loop {
        let page = store.results(name, all.len() as u64, RESULTS_PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
