//! Why *we* could not produce an outcome. A crate that fails is never one of these.

use std::path::{Path, PathBuf};

use ejecta_registry::{RegistryError, SourceError};

use crate::fetch::FetchError;
use crate::sandbox::{ErrorClass, SandboxError};

/// Why a job has no outcome, or an agent cannot work. Messages fit after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A source that could not be had, through no fault of its own.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A repository that could not be had, through no fault of its own.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A patch that is none.
    #[error("use the patch `{patch}`: {why}")]
    Patch {
        /// As the toolchain has it.
        patch: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file or directory of the agent's.
    #[error("{action} `{}`: {source}", path.display())]
    Io {
        /// What was done to it, as a verb.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The disk that jobs write to is full, or was while a step ran.
    #[error("work in `{}`: less than {least_mib} MiB or a thousand files are left on its disk", path.display())]
    NoRoom {
        /// A directory on it.
        path: PathBuf,
        /// What there must be, in MiB.
        least_mib: u64,
    },
    /// The coordinator answered, and said no.
    #[error("{action}: the coordinator answered with status {status}: {message}")]
    Coordinator {
        /// What was asked of it.
        action: &'static str,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The coordinator did not answer.
    #[error("{action}: {}", ejecta_registry::with_causes(.source))]
    Network {
        /// What was asked of it.
        action: &'static str,
        /// What the HTTP client says.
        source: reqwest::Error,
    },
    /// A mistake of ours.
    #[error("{0}; this is a bug of ejecta")]
    Bug(String),
}

impl AgentError {
    /// What the error means for a retry.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Sandbox(e) => e.class(),
            Self::Registry(e) => registry_class(e.class()),
            Self::Source(e) => registry_class(e.class()),
            Self::Fetch(e) => e.class(),
            Self::Io { .. } | Self::NoRoom { .. } | Self::Network { .. } => ErrorClass::Transient,
            Self::Coordinator { status, .. } if *status >= 500 || *status == 429 => {
                ErrorClass::Transient
            }
            Self::Coordinator { .. } | Self::Patch { .. } => ErrorClass::Permanent,
            Self::Bug(_) => ErrorClass::Bug,
        }
    }

    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Sandbox(e) => e.hint(),
            Self::Fetch(e) => e.hint(),
            Self::Registry(e) | Self::Source(SourceError::Registry(e)) => {
                e.hint().map(str::to_owned)
            }
            Self::NoRoom { .. } => {
                Some("make room there, or have jobs work on another disk".to_owned())
            }
            _ => None,
        }
    }

    /// Whether it says something of this agent and what it depends on, rather than of the one job
    /// that met it: then other jobs will meet it too.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        match self {
            Self::Sandbox(SandboxError::Dead { .. } | SandboxError::Spec(_)) => false,
            Self::Sandbox(_) => true,
            other => other.class() == ErrorClass::Transient,
        }
    }

    pub(crate) fn io<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<'a> {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

fn registry_class(class: ejecta_registry::ErrorClass) -> ErrorClass {
    match class {
        ejecta_registry::ErrorClass::Transient => ErrorClass::Transient,
        ejecta_registry::ErrorClass::Permanent => ErrorClass::Permanent,
    }
}
