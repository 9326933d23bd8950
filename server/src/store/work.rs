//! Jobs on their way through agents: claimed, kept alive, handed in, given back, lost.

use ejecta_core::capability::Capabilities;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::{JobId, LeaseId};
use ejecta_core::krate::Crate;
use ejecta_core::mode::Scope;
use ejecta_core::plan::CrateOptions;
use ejecta_core::queue::AfterLoss;
use jiff::Timestamp;

use super::Counts;

/// A request for jobs.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Who asks.
    pub agent: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The ids of the leases to be granted, never used before; as many as jobs are wanted.
    pub leases: Vec<LeaseId>,
    /// The time of the request.
    pub now: Timestamp,
    /// Until when the leases hold.
    pub until: Timestamp,
    /// Leases that ended at this time or before are taken away.
    pub expired: Timestamp,
    /// Agents that were seen at this time or later are alive: a job that failed goes to one of
    /// them that has not failed it.
    pub alive_since: Timestamp,
    /// Experiments whose jobs the agent cannot run for now.
    pub without: Vec<ExperimentName>,
}

/// What came of a [`Claim`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The jobs granted, in the order in which they should run.
    pub granted: Vec<Granted>,
    /// The leases that had expired and were taken away on this occasion.
    pub lost: Vec<Lost>,
    /// Jobs of all experiments under way that are queued or leased now, those just granted
    /// included.
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
    /// How it is run; the memory is that of its size class.
    pub options: CrateOptions,
    /// Its size class.
    pub size: u32,
    /// When its experiment was created.
    pub created: Timestamp,
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

/// How a lease was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its agent was not heard of in time.
    Silent,
    /// Its agent was heard of, and the job made no progress.
    Stuck,
}

/// A lease that was taken away. Where nothing but time was wrong, its work is still welcome until
/// the job is granted anew.
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
    /// Why.
    pub why: Loss,
    /// What became of the job.
    pub then: AfterLoss,
}

/// What a sweep found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expired {
    /// The leases that had expired and were taken away.
    pub lost: Vec<Lost>,
    /// The experiments whose last job has ended; they need a report now.
    pub ended: Vec<ExperimentName>,
}

/// One lease in a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The lease.
    pub lease: LeaseId,
    /// A number that changes whenever the job has got on; without one, life is taken for progress.
    pub progress: Option<u64>,
}

/// A heartbeat.
#[derive(Debug, Clone)]
pub struct Beats {
    /// Who sends it.
    pub agent: String,
    /// The leases that are alive.
    pub leases: Vec<Beat>,
    /// The time of the request.
    pub now: Timestamp,
    /// Until when the leases hold.
    pub until: Timestamp,
    /// A lease whose progress last changed at this time or before is stuck.
    pub stuck_since: Timestamp,
}

/// Which of the leases that a heartbeat named hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// They hold until the new time.
    pub extended: Vec<LeaseId>,
    /// They are nobody's: finished, released, granted anew, stuck, or never granted.
    pub lost: Vec<LeaseId>,
    /// Those of the lost ones that were taken away just now.
    pub stuck: Vec<Lost>,
    /// They are another agent's. If there is one, nothing was changed.
    pub foreign: Vec<LeaseId>,
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
    /// When it was granted.
    pub granted: Timestamp,
    /// Its size class.
    pub size: u32,
    /// What its memory is bounded by in that class, in bytes.
    pub memory_bytes: u64,
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
    /// We failed, and another try, by another agent if there is one, may help, if attempts are
    /// left.
    Transient(&'a str),
    /// We failed, and another try would not help.
    Permanent(&'a str),
    /// It needs more memory: the next larger size class, if there is one. The attempt does not
    /// count.
    TooSmall(&'a str),
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
