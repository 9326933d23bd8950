//! The seam between a coordinator and whoever knows crates: from what a person asks for to a plan.
//!
//! The server knows no registry, no repository and no disk with crates; whoever puts the parts
//! together implements [`Planner`].

use std::collections::BTreeMap;

use async_trait::async_trait;
use ejecta_core::experiment::Config;
use ejecta_core::plan::PlanEntry;

/// What a plan is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRequest {
    /// What the jobs depend on: a planner may refuse a toolchain that no agent could have.
    pub config: Config,
    /// The crates, as a person wrote them.
    pub selection: String,
    /// The order of the plan, and what `random-N` draws by.
    pub seed: u64,
    /// Whether the denylist does not count.
    pub ignore_denylist: bool,
}

/// A plan, and what it was made from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Planned {
    /// Every selected crate once, in the order in which they run, skipped ones with their reason;
    /// at least one.
    pub entries: Vec<PlanEntry>,
    /// Which state of the registry they were chosen from: small, and kept with the experiment.
    pub snapshot: Option<serde_json::Value>,
    /// What a report needs beside the results, under the names of [`crate::facts`].
    pub facts: BTreeMap<&'static str, serde_json::Value>,
    /// What the selection turned out to mean, one sentence each, for people.
    pub notes: Vec<String>,
}

/// Why there is no plan. Messages are whole sentences or fit after "failed to", as they say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// What was asked for makes no sense, and will not make more when it is asked again.
    #[error("{0}")]
    Input(String),
    /// The registry or a repository does not answer now.
    #[error("{0}")]
    Transient(String),
    /// Something here is wrong, and a person has to see to it.
    #[error("{0}")]
    Broken(String),
}

/// Makes plans.
#[async_trait]
pub trait Planner: Send + Sync {
    /// Finds all crates of a selection, in their order. It changes nothing but caches, and may take
    /// minutes where a list of all crates has to be downloaded.
    ///
    /// # Errors
    /// [`PlanError`], which names every crate that there is not.
    async fn plan(&self, request: &PlanRequest) -> Result<Planned, PlanError>;
}
