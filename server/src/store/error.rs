//! What a store fails with, and what can be done about it.

use ejecta_core::experiment::ExperimentName;

/// What a failure means for the next step; whoever retries looks at this and never at a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The same call may succeed later: the database is busy, the disk is full.
    Transient,
    /// It fails again until a person changes something.
    Permanent,
    /// A mistake in Ejecta.
    Bug,
}

/// A backend's own error, which nobody outside the backend takes apart.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer now.
    #[error("reach the store: {source}")]
    Unavailable {
        /// What the database says.
        source: Cause,
    },
    /// The database is there but cannot be used.
    #[error("use the store: {source}")]
    Unusable {
        /// What the database says.
        source: Cause,
    },
    /// It was written by a newer Ejecta.
    #[error(
        "use the store: its schema is {found} and this version of ejecta knows {known} at most"
    )]
    NewerSchema {
        /// The schema's number in the database.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// There is an experiment of that name already.
    #[error("create the experiment `{0}`: there is one of that name")]
    ExperimentExists(ExperimentName),
    /// There is no experiment of that name.
    #[error("find the experiment `{0}`: there is none of that name")]
    UnknownExperiment(ExperimentName),
    /// What is stored cannot be read back.
    #[error("read {what} from the store: {source}")]
    Corrupt {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        source: Cause,
    },
    /// The backend did something wrong.
    #[error("ask the store: {source}")]
    Bug {
        /// What the database says.
        source: Cause,
    },
}

impl StoreError {
    /// What the failure means for the next step.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unavailable { .. } => ErrorClass::Transient,
            Self::Unusable { .. }
            | Self::NewerSchema { .. }
            | Self::ExperimentExists(_)
            | Self::UnknownExperiment(_)
            | Self::Corrupt { .. } => ErrorClass::Permanent,
            Self::Bug { .. } => ErrorClass::Bug,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable { .. } => {
                Some("see whether the disk is full, or another program holds the database")
            }
            Self::NewerSchema { .. } => {
                Some("use the version of ejecta that wrote it, or a newer one")
            }
            Self::ExperimentExists(_) => {
                Some("choose another name or directory, or go on with it by `--resume`")
            }
            Self::Unusable { .. } | Self::Corrupt { .. } => {
                Some("the file may be damaged or no database of ejecta")
            }
            Self::UnknownExperiment(_) | Self::Bug { .. } => None,
        }
    }

    /// An error for stored text that is no longer what was written.
    pub(crate) fn corrupt(what: &'static str, source: impl Into<Cause>) -> Self {
        Self::Corrupt {
            what,
            source: source.into(),
        }
    }
}
