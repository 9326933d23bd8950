//! Why a coordinator did not do what it was asked for.

use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::LeaseId;
use ejecta_core::log::clean;
use ejecta_core::protocol::PROTOCOL;

use crate::logs::LogError;
use crate::store::StoreError;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The request makes no sense, and will not make more when it is repeated.
    #[error("{0}")]
    Invalid(String),
    /// The agent speaks another version of the protocol.
    #[error(
        "this coordinator speaks version {PROTOCOL} of the protocol and the agent version {0}; use the same version of ejecta for both"
    )]
    Protocol(u32),
    /// The caller is not the agent that it says it is.
    #[error("this token is that of the agent `{}`, and not of `{}`", clean(.token), clean(.named))]
    WrongAgent {
        /// Whose token it is.
        token: String,
        /// Who is named.
        named: String,
    },
    /// The lease was granted to another agent.
    #[error("lease `{}` is another agent's", clean(.0.0.as_str()))]
    ForeignLease(LeaseId),
    /// The lease has lost its job, or never held one.
    #[error("lease `{}` holds no job", clean(.0.0.as_str()))]
    StaleLease(LeaseId),
    /// The agent has no job of the experiment.
    #[error("this agent has no job of the experiment `{0}`")]
    NoJob(ExperimentName),
    /// Other agents run the experiment with something else.
    #[error(
        "{what} of the experiment `{name}` {verb} not what other agents of it have: `{here}` here, and \
         `{there}` there"
    )]
    Different {
        /// The experiment.
        name: ExperimentName,
        /// What differs.
        what: &'static str,
        /// `is` or `are`.
        verb: &'static str,
        /// What this agent has, in one line.
        here: String,
        /// What the first agent had.
        there: String,
    },
    /// There is no such experiment.
    #[error("there is no experiment `{0}`")]
    UnknownExperiment(ExperimentName),
    /// The store failed.
    #[error("failed to {0}")]
    Store(#[from] StoreError),
    /// The logs could not be kept.
    #[error("failed to {0}")]
    Logs(#[from] LogError),
    /// The system gave no randomness for lease ids.
    #[error("failed to make a lease id: {0}")]
    Randomness(#[from] getrandom::Error),
}
