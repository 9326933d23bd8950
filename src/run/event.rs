//! What a run tells, whoever listens: one stream of typed events.

use std::collections::BTreeMap;

use ejecta_core::compare::Verdict;
use ejecta_core::krate::CrateId;
use ejecta_core::mode::Scope;
use ejecta_core::outcome::Side;
use serde::Serialize;

/// One thing that happened. In JSON each is an object whose `event` says which.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RunEvent {
    /// Something about this machine or the set-up that people should know.
    Note {
        /// The text.
        message: String,
    },
    /// The jobs start.
    Started {
        /// The experiment.
        experiment: String,
        /// Its directory.
        out: String,
        /// The baseline: how it was asked for, and what it says it is.
        baseline: [String; 2],
        /// The candidate, likewise.
        candidate: [String; 2],
        /// Crates of the plan, skipped ones included.
        crates: usize,
        /// Jobs in all.
        jobs: u64,
        /// Jobs that an earlier, interrupted run finished.
        finished: u64,
        /// Jobs at once.
        at_once: u32,
    },
    /// A job is being worked on.
    JobStarted {
        /// Its crate.
        #[serde(rename = "crate")]
        krate: CrateId,
        /// Its tier.
        tier: Scope,
    },
    /// A job runs a side.
    JobRunning {
        /// Its crate.
        #[serde(rename = "crate")]
        krate: CrateId,
        /// Its tier.
        tier: Scope,
        /// The toolchain.
        side: Side,
        /// The how-manieth run of the job.
        nth: u32,
    },
    /// A job has a result, and that is safe on disk.
    JobFinished {
        /// Its crate.
        #[serde(rename = "crate")]
        krate: CrateId,
        /// Its tier.
        tier: Scope,
        /// The verdict of this tier.
        verdict: Verdict,
        /// Jobs that are finished or given up by now.
        done: u64,
        /// Jobs in all.
        jobs: u64,
    },
    /// We failed to produce an outcome.
    JobFailed {
        /// Its crate.
        #[serde(rename = "crate")]
        krate: CrateId,
        /// Its tier.
        tier: Scope,
        /// What went wrong.
        error: String,
        /// Whether that was the last try.
        given_up: bool,
        /// Jobs that are finished or given up by now.
        done: u64,
        /// Jobs in all.
        jobs: u64,
    },
    /// The run was interrupted.
    Interrupted {
        /// The command that goes on with it.
        resume: String,
    },
    /// The run is over, and the report is written.
    Finished {
        /// Crates by verdict.
        totals: BTreeMap<String, u32>,
        /// The share of crates that could be compared, from 0 to 1.
        coverage: f64,
        /// Whether every job has a result.
        complete: bool,
        /// The page to open.
        report: String,
        /// The exit code.
        exit_code: u8,
    },
}
