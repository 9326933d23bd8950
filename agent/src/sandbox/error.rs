//! Why we, and not the crate, failed to run a step.
//!
//! Retries look at [`ErrorClass`], people at the message and the hint; nobody at the text of a
//! daemon's answer.

use std::io;
use std::path::PathBuf;

/// What an error means for a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// It may pass: try again, elsewhere if that can be.
    Transient,
    /// It stays until somebody changes something; the hint says what.
    Permanent,
    /// It should never happen: a mistake of ours.
    Bug,
}

/// What a backend failed to do.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The backend's daemon cannot be reached.
    #[error("reach {backend}: {message}")]
    Unreachable {
        /// Which daemon, such as `Docker`.
        backend: &'static str,
        /// What the connection said.
        message: String,
    },
    /// The userland image is not there.
    #[error("find the image `{image}`: Docker does not have it")]
    MissingImage {
        /// Its name, as the user gave it.
        image: String,
    },
    /// The OCI runtime is not there.
    #[error("use the runtime `{runtime}`: Docker has no runtime of that name")]
    MissingRuntime {
        /// Its name, as the user gave it.
        runtime: String,
    },
    /// The machine gives no namespaces to isolate with.
    #[error("isolate steps with namespaces: {message}")]
    Namespaces {
        /// What failed, and what the system said.
        message: String,
        /// What would help.
        hint: String,
    },
    /// The daemon is there and said no.
    #[error("{action}: {message}")]
    Refused {
        /// What was asked of it, as a verb and an object.
        action: String,
        /// What it answered.
        message: String,
        /// What that means for a retry: a daemon's own error may pass, a bad request will not.
        class: ErrorClass,
    },
    /// The instance ended under a step, and no limit of ours did it.
    #[error("keep the sandbox `{name}` running: {message}")]
    Lost {
        /// The instance.
        name: String,
        /// What was seen of it last.
        message: String,
    },
    /// A step was asked of an instance that is dead after a limit or an error.
    #[error("run a step in the sandbox `{name}`: it ended in an earlier step")]
    Dead {
        /// The instance.
        name: String,
    },
    /// A specification or a command that cannot be.
    #[error("use the sandbox specification: {0}")]
    Spec(String),
    /// A file or directory of the host.
    #[error("{action} `{}`: {source}", path.display())]
    Io {
        /// What was done to it, as a verb.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SandboxError {
    /// What the error means for a retry.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } | Self::Io { .. } => ErrorClass::Transient,
            Self::MissingImage { .. } | Self::MissingRuntime { .. } | Self::Namespaces { .. } => {
                ErrorClass::Permanent
            }
            Self::Dead { .. } | Self::Spec(_) => ErrorClass::Bug,
            Self::Refused { class, .. } => *class,
        }
    }

    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { .. } => Some(
                "start it with `sudo systemctl start docker`; your user must be in the group \
                 `docker`, or DOCKER_HOST must name a daemon that you may use"
                    .to_owned(),
            ),
            Self::MissingImage { image } => Some(format!(
                "fetch it with `docker pull {image}`, or leave the image out to use this \
                 machine's own /usr"
            )),
            Self::MissingRuntime { runtime } => Some(format!(
                "add `{runtime}` to the `runtimes` of Docker's daemon.json; `docker info` lists \
                 those it has"
            )),
            Self::Namespaces { hint, .. } => Some(hint.clone()),
            _ => None,
        }
    }
}
