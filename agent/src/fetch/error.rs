//! Why a repository could not be had. Messages fit after "failed to".

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ejecta_core::outcome::UnpreparedReason;

use crate::sandbox::{ErrorClass, SandboxError};

/// Why a repository could not be had, and whose fault that is.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no such repository, or no such branch, tag or commit in it, or not for everybody.
    #[error("fetch `{what}`: {why}")]
    Missing {
        /// The repository, with its revision.
        what: String,
        /// What git says.
        why: String,
    },
    /// Its host sends to another one.
    #[error("fetch `{what}`: it sends to `{other}`, another host than the one that was named")]
    OtherHost {
        /// The repository.
        what: String,
        /// The host and port that it sends to.
        other: String,
    },
    /// It is larger, or slower, than allowed.
    #[error("fetch `{what}`: {why}")]
    Limit {
        /// The repository.
        what: String,
        /// Which limit.
        why: String,
    },
    /// Its address is not on the public network, and no person named it.
    #[error("fetch `{url}`: its host is at {address}, which is not on the public network")]
    Private {
        /// The repository.
        url: String,
        /// Where its host is.
        address: IpAddr,
    },
    /// What was fetched cannot be used.
    #[error("use `{what}`: {why}")]
    Unusable {
        /// The repository.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The host does not answer, or not now.
    #[error("fetch `{what}`: {why}")]
    Unreachable {
        /// The repository.
        what: String,
        /// What git or the system says.
        why: String,
    },
    /// There is no git to fetch with.
    #[error("fetch `{what}`: there is no git in the sandbox ({why})")]
    NoGit {
        /// The repository.
        what: String,
        /// What starting it gave.
        why: String,
    },
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A file or directory of ours.
    #[error("{action} `{}`: {source}", path.display())]
    Io {
        /// What was done to it, as a verb.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl FetchError {
    /// What the error means for a retry.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable { .. } | Self::Io { .. } => ErrorClass::Transient,
            Self::Missing { .. }
            | Self::OtherHost { .. }
            | Self::Limit { .. }
            | Self::Private { .. }
            | Self::Unusable { .. }
            | Self::NoGit { .. } => ErrorClass::Permanent,
            Self::Sandbox(error) => error.class(),
        }
    }

    /// Whether it is the repository's own fault, or that of who named it: then a crate that needs
    /// it cannot be prepared, anywhere.
    pub fn is_of_the_repository(&self) -> bool {
        match self {
            Self::Missing { .. }
            | Self::OtherHost { .. }
            | Self::Limit { .. }
            | Self::Private { .. }
            | Self::Unusable { .. } => true,
            Self::Unreachable { .. } | Self::NoGit { .. } | Self::Sandbox(_) | Self::Io { .. } => {
                false
            }
        }
    }

    /// What kind of fault a crate has that needs the repository.
    pub fn reason(&self) -> UnpreparedReason {
        match self {
            Self::Missing { .. } | Self::OtherHost { .. } | Self::Private { .. } => {
                UnpreparedReason::MissingGitRepository
            }
            Self::Limit { .. }
            | Self::Unusable { .. }
            | Self::Unreachable { .. }
            | Self::NoGit { .. }
            | Self::Sandbox(_)
            | Self::Io { .. } => UnpreparedReason::Unknown,
        }
    }

    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some(
                "check the address and the revision; repositories that ask for a login cannot \
                 be used, no credentials are ever sent"
                    .to_owned(),
            ),
            Self::OtherHost { .. } => Some("name the address that it sends to".to_owned()),
            Self::Private { .. } => {
                Some("only repositories that a person names may be on other networks".to_owned())
            }
            Self::NoGit { .. } => Some(
                "install git on this machine (`apt-get install git`), or use an `--image` that \
                 has git and the C library of this machine or a newer one"
                    .to_owned(),
            ),
            Self::Sandbox(error) => error.hint(),
            Self::Limit { .. }
            | Self::Unusable { .. }
            | Self::Unreachable { .. }
            | Self::Io { .. } => None,
        }
    }

    pub(super) fn io<'a>(
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
