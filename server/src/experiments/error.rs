//! Why something was not done to an experiment.

use ejecta_core::compare::Verdict;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::lifecycle::{Edited, State};

use crate::planning::PlanError;
use crate::store::StoreError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// There is one of that name.
    #[error("there is an experiment `{0}` already")]
    Exists(ExperimentName),
    /// There is none of that name.
    #[error("there is no experiment `{0}`")]
    Unknown(ExperimentName),
    /// It is too far, or not far enough, for that.
    #[error("{}", wrong_state(.name, *.state, *.part))]
    WrongState {
        /// Which experiment.
        name: ExperimentName,
        /// How far it is.
        state: State,
        /// What was to be edited, if that was asked.
        part: Option<Edited>,
    },
    /// No crate of it has one of the chosen verdicts.
    #[error("no crate of the experiment `{name}` is {}", words(.verdicts))]
    NothingToRetry {
        /// Which experiment.
        name: ExperimentName,
        /// What was asked for.
        verdicts: Vec<Verdict>,
    },
    /// The request makes no sense, and will not make more when it is repeated.
    #[error("{0}")]
    Invalid(String),
    /// There is no plan, through no fault of who asked.
    #[error("{0}")]
    Planning(PlanError),
    /// The store failed.
    #[error("failed to {0}")]
    Store(StoreError),
}

fn wrong_state(name: &ExperimentName, state: State, part: Option<Edited>) -> String {
    let what = match part {
        None => return format!("the experiment `{name}` is {state}"),
        Some(Edited::Priority) => "its priority",
        Some(Edited::Requirements) => "what it asks of agents",
        Some(Edited::Config) => "what its jobs depend on",
        Some(Edited::Plan) => "its crates",
    };
    format!("the experiment `{name}` is {state}: {what} can be changed no more")
}

fn words(verdicts: &[Verdict]) -> String {
    let names: Vec<&str> = verdicts.iter().map(|v| v.name()).collect();
    names.join(" or ")
}

impl From<StoreError> for ExperimentError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::ExperimentExists(name) => Self::Exists(name),
            StoreError::UnknownExperiment(name) => Self::Unknown(name),
            error => Self::Store(error),
        }
    }
}

impl From<PlanError> for ExperimentError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Input(message) => Self::Invalid(message),
            error => Self::Planning(error),
        }
    }
}
