//! What happens in a coordinator, for whoever follows it: terminals, programs, pages, logs.
//!
//! Events are told after the fact and may be missed by a slow follower; each one that ends a job
//! carries the counts after it, so that nobody has to add up.

use ejecta_core::compare::Verdict;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::JobId;
use serde::Serialize;

use crate::store::Counts;

/// Something that has happened, and is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// An agent has a job.
    JobGranted {
        /// Whose job it is.
        experiment: ExperimentName,
        /// The job.
        job: JobId,
        /// Who has it.
        agent: String,
        /// The how-manieth grant of the job, from 1.
        attempt: u32,
    },
    /// A job has its result.
    JobFinished {
        /// Whose job it is.
        experiment: ExperimentName,
        /// The job.
        job: JobId,
        /// Who did it.
        agent: String,
        /// The attempt that did it.
        attempt: u32,
        /// What the comparison of its two sides says.
        verdict: Verdict,
        /// Whether the library (or, without one, the binaries) could really be compared.
        covered: bool,
        /// The experiment's jobs after it.
        counts: Counts,
    },
    /// An agent gave a job back without a result.
    JobReleased {
        /// Whose job it is.
        experiment: ExperimentName,
        /// The job.
        job: JobId,
        /// Who had it.
        agent: String,
        /// The attempt that failed.
        attempt: u32,
        /// What went wrong; `None` when the job was merely not worked on.
        error: Option<String>,
        /// Whether the job is an error of ours now; otherwise it is queued again.
        given_up: bool,
        /// The experiment's jobs after it.
        counts: Counts,
    },
    /// All jobs of an experiment have ended: it needs a report.
    JobsEnded {
        /// Which.
        experiment: ExperimentName,
    },
    /// An agent was not heard of in time, or its job made no progress, and it was taken away.
    JobLost {
        /// Whose job it is.
        experiment: ExperimentName,
        /// The job.
        job: JobId,
        /// Who had it.
        agent: String,
        /// The attempt that was lost.
        attempt: u32,
        /// Whether the job is an error of ours now; otherwise it is queued again.
        given_up: bool,
    },
}
