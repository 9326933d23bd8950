//! From the client's errors to ours: by status, never by text.

use bollard::errors::Error;
use ejecta_registry::with_causes;

use crate::sandbox::{ErrorClass, SandboxError};

/// The error of a request: `action` is what was asked, as a verb and an object.
pub(super) fn failed(action: impl Into<String>, error: &Error) -> SandboxError {
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => SandboxError::Refused {
            action: action.into(),
            message: format!("Docker answered {status_code}: {message}"),
            class: match status_code {
                // A request that the daemon cannot understand or will not do.
                400 | 401 | 403 | 405 | 406 | 501 => ErrorClass::Bug,
                _ => ErrorClass::Transient,
            },
        },
        Error::DockerStreamError { error } => SandboxError::Refused {
            action: action.into(),
            message: error.clone(),
            class: ErrorClass::Transient,
        },
        _ => SandboxError::Unreachable {
            backend: "Docker",
            message: with_causes(error),
        },
    }
}

/// Whether the daemon answered with this status.
pub(super) fn is_status(error: &Error, status: u16) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}
