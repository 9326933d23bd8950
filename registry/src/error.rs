//! What can go wrong between Ejecta and a registry, and whether waiting helps.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ejecta_core::krate::CrateName;
use semver::Version;

use crate::unpack::UnpackError;

/// Whether the same request may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// It may: the network, an overloaded server, a full disk.
    Transient,
    /// It will not: a wrong address, an unknown crate, an answer that makes no sense.
    Permanent,
}

/// What helps where there is no HTTP client: mostly it has found no certificates to trust.
const NO_CLIENT: &str = "it needs certificates of authorities: install Debian's package \
                             `ca-certificates`, or name a file with them in the variable SSL_CERT_FILE";

/// Why the registry could not be used. Cloned to everybody who waited for the same request.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// The registry's address or the client's settings are wrong.
    #[error("set up the registry `{address}`: {why}")]
    Setup {
        /// The address as it is used.
        address: String,
        /// What is wrong.
        why: String,
    },
    /// There is no HTTP client.
    #[error("set up an HTTP client: {why}")]
    Client {
        /// What is wrong.
        why: String,
    },
    /// No answer, or one that broke off.
    #[error("read `{url}`: {source}")]
    Network {
        /// What was asked for.
        url: String,
        /// What the HTTP client says.
        source: Arc<reqwest::Error>,
    },
    /// An answer with a status that is no success.
    #[error("read `{url}`: the server answered with status {status}{}", refusal(*status))]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// An answer that goes on past the limit.
    #[error("read `{url}`: the answer is longer than {limit} bytes")]
    TooLong {
        /// What was asked for.
        url: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// An answer that does not say what it must.
    #[error("understand `{url}`: {why}")]
    Unreadable {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The registry asks for a login, and there is no token.
    #[error("use the registry: `{url}` asks for a login, and no token was given")]
    LoginNeeded {
        /// The document that says so.
        url: String,
    },
    /// A token that cannot be one. It is not shown.
    #[error("use the registry's token: {why}")]
    Token {
        /// What is wrong with it.
        why: String,
    },
    /// The registry has no crate of this name, in any spelling.
    #[error("find the crate `{name}`: the registry has none of this name")]
    UnknownCrate {
        /// The name as it was asked for.
        name: CrateName,
    },
    /// The registry has the crate, not the version.
    #[error("find `{name}` {version}: the registry has no such version of it")]
    UnknownVersion {
        /// The name in the author's spelling.
        name: CrateName,
        /// The version as it was asked for.
        version: Version,
        /// The newest that there is.
        newest: Option<Version>,
    },
    /// The crate has no release that can be chosen: all are yanked or unreadable.
    #[error("find a release of `{name}`: every one is yanked or unreadable")]
    NoRelease {
        /// The name in the author's spelling.
        name: CrateName,
    },
    /// The store's disk.
    #[error("{action} `{path}`: {source}", path = path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system says.
        source: Arc<io::Error>,
    },
}

fn refusal(status: u16) -> &'static str {
    match status {
        401 => ": it asks for a token, or does not know the one that it got",
        403 => ": the token, or whoever has none, may not read this",
        _ => "",
    }
}

impl RegistryError {
    /// Whether trying again later can help.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Network { source, .. } if source.is_builder() || source.is_redirect() => {
                ErrorClass::Permanent
            }
            Self::Network { .. }
            | Self::Io { .. }
            | Self::Status {
                status: 408 | 429 | 500..=599,
                ..
            } => ErrorClass::Transient,
            Self::Setup { .. }
            | Self::Client { .. }
            | Self::Status { .. }
            | Self::TooLong { .. }
            | Self::Unreadable { .. }
            | Self::LoginNeeded { .. }
            | Self::Token { .. }
            | Self::UnknownCrate { .. }
            | Self::UnknownVersion { .. }
            | Self::NoRelease { .. } => ErrorClass::Permanent,
        }
    }

    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Setup { .. } => {
                Some("give the address of a sparse index, starting with http:// or https://")
            }
            Self::Client { .. } => Some(NO_CLIENT),
            Self::Network { .. } => Some("check the network, and the proxy if there is one"),
            Self::Status {
                status: 401 | 403, ..
            }
            | Self::LoginNeeded { .. }
            | Self::Token { .. } => Some(
                "the token of a registry is read from `--registry-token-file FILE` or from the variable EJECTA_REGISTRY_TOKEN",
            ),
            Self::Unreadable { .. } => Some(
                "check that the address is that of a sparse index, the directory of its `config.json`",
            ),
            Self::UnknownCrate { .. } => Some("check the spelling, and which registry is used"),
            Self::NoRelease { .. } => Some("name a version as `name@version`"),
            _ => None,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }
}

/// What is wrong with a release itself: it is broken for everybody, and trying again is no use.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Broken {
    /// The file is not the one that the index describes.
    #[error("check the download: the index names checksum `{expected}`, the file has `{found}`")]
    Checksum {
        /// SHA-256 of the index.
        expected: String,
        /// SHA-256 of what came.
        found: String,
    },
    /// The file is larger than any registry allows.
    #[error("check the download: it is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The archive is damaged, or has what no package may have.
    #[error(transparent)]
    Unpack(Arc<UnpackError>),
}

/// Why there is no source of a release.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// The release is at fault: an outcome of the crate, not an error of ours.
    #[error("use the package of `{name}` {version}: {why}")]
    Broken {
        /// The name of the release.
        name: CrateName,
        /// Its version.
        version: Version,
        /// What is wrong with it.
        #[source]
        why: Broken,
    },
    /// The registry, the network or the disk.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl SourceError {
    /// Whether trying again later can help.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Broken { .. } => ErrorClass::Permanent,
            Self::Registry(error) => error.class(),
        }
    }
}
