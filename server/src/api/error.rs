//! From errors to answers: status, body, and one line in the log.

use std::sync::Arc;

use axum::Json;
use axum::extract::Request;
use axum::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ejecta_core::log::clean;
use ejecta_core::protocol::ErrorBody;

use crate::auth::Refused;
use crate::coordinator::CoordinatorError;
use crate::store::{ErrorClass, StoreError};

/// When an agent should try again after a failure of ours, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    /// What the agent is told: one line, whatever it quotes.
    message: String,
    /// What only our own log is told.
    detail: Option<String>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: clean(&message.into()).replace(['\n', '\t'], " "),
            detail: None,
        }
    }

    /// A failure of ours: the agent is told whether to try again, the log why.
    fn ours(class: ErrorClass, detail: String) -> Self {
        let (status, message) = match class {
            ErrorClass::Transient => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the coordinator cannot do this now; try again",
            ),
            ErrorClass::Permanent | ErrorClass::Bug => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the coordinator failed; its log says why",
            ),
        };
        Self {
            status,
            message: message.to_owned(),
            detail: Some(detail),
        }
    }

    /// Something that this depends on does not answer now: what, is said.
    pub(super) fn not_now(message: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// Something here is wrong: what, is said.
    pub(super) fn broken(message: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(super) fn panicked() -> Self {
        Self::ours(ErrorClass::Bug, "a request panicked".to_owned())
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Unauthorized => Self::new(StatusCode::UNAUTHORIZED, message),
            Refused::Forbidden(_) | Refused::NoAgent => Self::new(StatusCode::FORBIDDEN, message),
            Refused::Store(error) => Self::ours(error.class(), message),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::ours(error.class(), format!("failed to {error}"))
    }
}

impl From<CoordinatorError> for ApiError {
    fn from(error: CoordinatorError) -> Self {
        let message = error.to_string();
        match error {
            CoordinatorError::Invalid(_) | CoordinatorError::Protocol(_) => {
                Self::new(StatusCode::BAD_REQUEST, message)
            }
            CoordinatorError::WrongAgent { .. } | CoordinatorError::ForeignLease(_) => {
                Self::new(StatusCode::FORBIDDEN, message)
            }
            CoordinatorError::StaleLease(_)
            | CoordinatorError::NoJob(_)
            | CoordinatorError::Different { .. } => Self::new(StatusCode::CONFLICT, message),
            CoordinatorError::UnknownExperiment(_) => Self::new(StatusCode::NOT_FOUND, message),
            CoordinatorError::Store(error) => Self::ours(error.class(), message),
            CoordinatorError::Logs(error) => Self::ours(error.class(), message),
            CoordinatorError::Randomness(_) => Self::ours(ErrorClass::Transient, message),
        }
    }
}

/// Carried from the place of an error to [`log_errors`].
#[derive(Clone)]
struct ToLog(Arc<str>);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: self.message.clone(),
        };
        let mut response = (self.status, Json(body)).into_response();
        self.mark(&mut response);
        response
    }
}

impl ApiError {
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// What whoever asked is told.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Makes `response`, which says this error in some form, be logged and understood as such.
    pub(crate) fn mark(&self, response: &mut Response) {
        let to_log = ToLog(self.detail.as_deref().unwrap_or(&self.message).into());
        response.extensions_mut().insert(to_log);
        let headers = response.headers_mut();
        if matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
    }
}

/// Logs every answer that is an error, once.
pub(super) async fn log_errors(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    if let Some(ToLog(error)) = response.extensions().get() {
        let status = response.status().as_u16();
        if response.status().is_server_error() {
            tracing::error!(%method, path, status, %error, "a request failed");
        } else {
            tracing::info!(%method, path, status, %error, "a request was refused");
        }
    }
    response
}

pub(super) async fn no_such_path(uri: Uri) -> ApiError {
    let path = uri.path();
    ApiError::new(StatusCode::NOT_FOUND, format!("there is no `{path}` here"))
}

pub(super) async fn wrong_method(uri: Uri) -> ApiError {
    let path = uri.path();
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("`{path}` does not take this method"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_ours_say_when_to_try_again_and_nothing_of_the_inside() {
        let unavailable = StoreError::Unavailable {
            source: "disk I/O error in /secret/path".into(),
        };
        let error = ApiError::from(CoordinatorError::Store(unavailable));
        assert!(!error.message.contains("/secret/path"), "{}", error.message);
        let response = error.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        let bug = StoreError::Bug { source: "x".into() };
        let response = ApiError::from(CoordinatorError::Store(bug)).into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!response.headers().contains_key(RETRY_AFTER));
    }
}
