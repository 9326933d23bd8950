//! Why a report could not be published.

use std::path::Path;

/// Why a report could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file, here or in the report.
    #[error("{action} `{path}`: {source}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Where results or logs come from, or where the report goes, somebody else looks after.
    #[error("{source}")]
    Elsewhere {
        /// Whether the same may succeed later.
        transient: bool,
        /// What they say.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of results is none.
    #[error("read `{path}`: not the results of an experiment: {source}")]
    Results {
        /// The file.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl PublishError {
    /// Whether the same may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { .. } => true,
            Self::Elsewhere { transient, .. } => *transient,
            Self::Results { .. } => false,
        }
    }
}

/// An error of the system about a file.
pub(crate) fn io(
    action: &'static str,
    path: impl AsRef<Path>,
) -> impl FnOnce(std::io::Error) -> PublishError {
    let path = path.as_ref().display().to_string();
    move |source| PublishError::Io {
        action,
        path,
        source,
    }
}
