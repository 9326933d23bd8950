//! From errors to answers: status, body, and one line in the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::Json;
use axum::extract::Request;
use axum::http::header::{HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
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

/// Carried from the place of an error to [`log_requests`].
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

/// The header by which a request is found in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is told apart from other processes' requests by its first half.
fn request_id() -> String {
    static PROCESS: LazyLock<u32> = LazyLock::new(|| {
        let mut bytes = [0; 4];
        // Without randomness two processes may have the same ids, and no more than that.
        let _ = getrandom::fill(&mut bytes);
        u32::from_be_bytes(bytes)
    });
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:08x}-{next}", *PROCESS)
}

/// Logs every request, once, when it was answered: by an id that the answer has, too, and never with
/// more of it than its path. What supervisors ask all the time is logged for those who debug.
pub(super) async fn log_requests(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    match response.extensions().get() {
        Some(ToLog(error)) if response.status().is_server_error() => {
            tracing::error!(request = id, %method, path, status, took_ms, %error, "a request failed");
        }
        Some(ToLog(error)) => {
            tracing::info!(request = id, %method, path, status, took_ms, %error, "a request was refused");
        }
        None if matches!(path.as_str(), "/healthz" | "/readyz" | "/metrics") => {
            tracing::debug!(request = id, %method, path, status, took_ms, "a request was answered");
        }
        None => {
            tracing::info!(request = id, %method, path, status, took_ms, "a request was answered");
        }
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
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
