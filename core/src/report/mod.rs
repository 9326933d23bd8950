//! Reports: from the records of an experiment to what people and programs read.
//!
//! [`Input`] is all that a report is made of; [`model`] draws the conclusions once, into a model
//! that is also `results.json`; [`html`], [`markdown`], [`text`], [`junit`], [`crater`] and
//! [`retry`] only render that model. [`pages`] are the many pages of a large report, made crate by
//! crate: [`Collector`] draws the same conclusions as [`model`] from entries that go by. Writing
//! files is done elsewhere.

mod build;
pub mod crater;
pub mod html;
pub mod junit;
pub mod markdown;
pub mod model;
pub mod overall;
pub mod pages;
pub mod retry;
mod steps;
pub mod stream;
pub mod text;
mod words;

pub use build::{Collector, experiment_info, members};
pub use words::{
    count_of, coverage, duration, first_error, grouped, incomplete, link, meaning, one_line,
};

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::denylist::DenylistUsed;
use crate::experiment::Experiment;
use crate::krate::CrateName;
use crate::mode::Scope;
use crate::outcome::JobRecord;
use crate::plan::PlanEntry;
use crate::toolchain::ToolchainInfo;

/// The style sheet of reports, for pages that should look like them.
pub const STYLE: &str = include_str!("../../templates/style.css");

/// Everything that a report is made of.
#[derive(Debug, Clone)]
pub struct Input {
    /// The experiment.
    pub experiment: Experiment,
    /// When it first started to run.
    pub started: Option<Timestamp>,
    /// When its last job ended; `None` while jobs are unfinished.
    pub finished: Option<Timestamp>,
    /// What the baseline said of itself.
    pub baseline: Option<ToolchainInfo>,
    /// What the candidate said of itself.
    pub candidate: Option<ToolchainInfo>,
    /// The sandbox that was used, for people: `docker (host userland)`.
    pub sandbox: Option<String>,
    /// The registry.
    pub registry: Option<model::RegistryInfo>,
    /// The userland inside Docker, where it is an image.
    pub image: Option<String>,
    /// The OCI runtime, where it is not the daemon's own choice.
    pub runtime: Option<String>,
    /// The file of the denylist, as it was named; `None` for the one that comes with ejecta.
    pub denylist: Option<String>,
    /// Which denylist counted, where that is known.
    pub denylist_used: Option<DenylistUsed>,
    /// Which state of the registry the crates were chosen from; see
    /// [`model::ExperimentInfo::snapshot`].
    pub snapshot: Option<String>,
    /// What the crates mean to others; empty where nobody counted.
    pub popularity: BTreeMap<CrateName, Popularity>,
    /// Counts of requests to the registry, as the registry client keeps them.
    pub traffic: Option<serde_json::Value>,
    /// Every crate of the plan, in its order.
    pub entries: Vec<Entry>,
}

/// What a crate means to others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Popularity {
    /// Downloads of all its releases; unknown where the list of all crates is an index.
    pub downloads: Option<u64>,
    /// The crates that depend directly on it, by numbers that stand for crates.
    pub dependents: Vec<u32>,
}

/// One crate of the plan with what is known of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The crate as planned.
    pub plan: PlanEntry,
    /// Its tiers, in their order; empty for a crate that is not run.
    pub tiers: Vec<Tier>,
}

/// One tier of a crate.
#[derive(Debug, Clone)]
pub struct Tier {
    /// Which tier.
    pub tier: Scope,
    /// How often its job was granted.
    pub attempts: u32,
    /// How far it is.
    pub state: TierState,
}

/// How far the job of a tier is.
#[derive(Debug, Clone)]
pub enum TierState {
    /// Not finished.
    Unfinished,
    /// Finished.
    Finished(Box<JobRecord>),
    /// Given up: *we* could not produce an outcome.
    Error(String),
}
