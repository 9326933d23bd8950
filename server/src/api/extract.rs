//! Reading requests: bounded, strict, and with errors that say what is wrong.

use std::time::Duration;

use axum::body::{Bytes, HttpBody as _};
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// How long a client may take to send a body.
const BODY_TIME: Duration = Duration::from_secs(120);

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
