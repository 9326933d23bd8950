//! Reading requests: bounded, strict, and with errors that say what is wrong.

use std::time::Duration;

use axum::body::{Bytes, HttpBody as _};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::auth::{Caller, Refused};

/// How long a client may take to send a body.
const BODY_TIME: Duration = Duration::from_secs(120);

/// Whoever made the request, as found at the entrance.
pub(super) struct Whoever(pub(super) Caller);

impl<S: Send + Sync> FromRequestParts<S> for Whoever {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>().cloned();
        Ok(Self(caller.ok_or(Refused::Unauthorized)?))
    }
}

/// The agent that makes the request: nobody else may. It stands before the body in a handler's
/// arguments, so that others are refused before theirs is read.
pub(super) struct AgentName(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for AgentName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Whoever(caller) = Whoever::from_request_parts(parts, state).await?;
        Ok(Self(caller.as_agent()?.to_owned()))
    }
}

/// A JSON body of at most `MAX` bytes, whatever its content type says.
pub(super) struct Body<T, const MAX: usize>(pub(super) T);

impl<T, S, const MAX: usize> FromRequest<S> for Body<T, MAX>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes = body_bytes(request, MAX).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// The whole body, of at most `max` bytes. One that is announced to be larger is refused at once.
pub(super) async fn body_bytes(mut request: Request, max: usize) -> Result<Bytes, ApiError> {
    let too_large = StatusCode::PAYLOAD_TOO_LARGE;
    let refuse_size = || {
        let message = format!("the body is larger than the {max} bytes that this request may have");
        Err(ApiError::new(too_large, message))
    };
    if request.body().size_hint().lower() > max as u64 {
        return refuse_size();
    }
    DefaultBodyLimit::max(max).apply(&mut request);
    match tokio::time::timeout(BODY_TIME, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.status() == too_large => refuse_size(),
        Ok(Err(error)) => {
            let message = format!("the body cannot be read: {}", error.body_text());
            Err(ApiError::new(error.status(), message))
        }
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
        )),
    }
}

/// Reads JSON.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            format!("the body is not what this request takes: {error}"),
        )
    })
}
