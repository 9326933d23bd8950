//! Why GitHub did not do as it was asked, and what that means for the next step.

use jiff::Timestamp;
use reqwest::StatusCode;

/// A request to GitHub that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum GithubError {
    /// The client cannot be made.
    #[error("set up the connection to GitHub: {0}")]
    Setup(String),
    /// Nothing came back. Whether anything happened is unknown.
    #[error("{what}: {why}")]
    Network {
        /// What was to be done.
        what: String,
        /// What the network says.
        why: String,
    },
    /// GitHub refused, or failed.
    #[error("{what}: GitHub answered with status {status}: {message}")]
    Status {
        /// What was to be done.
        what: String,
        /// The status.
        status: StatusCode,
        /// What GitHub says about it.
        message: String,
    },
    /// A limit was hit: nothing was done.
    #[error("{what}: GitHub asks to wait until {until}")]
    Limited {
        /// What was to be done.
        what: String,
        /// No request before.
        until: Timestamp,
    },
    /// The answer is not what the documentation says.
    #[error("{what}: unexpected answer: {why}")]
    Answer {
        /// What was to be done.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What a failure means for the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GithubClass {
    /// Trying again soon may help. The request may have been carried out.
    Transient,
    /// Trying again helps from then on. The request was not carried out.
    Limited(Timestamp),
    /// We may not, for now: somebody has to change a right or a key.
    Denied,
    /// There is no such thing, or it never takes what was sent.
    Never,
}

impl GithubError {
    /// What the failure means.
    pub fn class(&self) -> GithubClass {
        match self {
            Self::Limited { until, .. } => GithubClass::Limited(*until),
            Self::Network { .. } | Self::Answer { .. } => GithubClass::Transient,
            Self::Setup(_) => GithubClass::Denied,
            Self::Status {
                status, message, ..
            } => match *status {
                StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNPROCESSABLE_ENTITY => {
                    GithubClass::Never
                }
                // A locked thread takes no comments from us, however often we try.
                StatusCode::FORBIDDEN if message.contains("locked") => GithubClass::Never,
                status if status.is_client_error() => GithubClass::Denied,
                _ => GithubClass::Transient,
            },
        }
    }

    /// Whether GitHub says that there is no such thing.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Status {
                status: StatusCode::NOT_FOUND | StatusCode::GONE,
                ..
            }
        )
    }
}
