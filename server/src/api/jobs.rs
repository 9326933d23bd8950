//! Claim, heartbeat, submit, release.
//!
//! Each runs in a task of its own, so that an agent that hangs up cannot stop it half way: what
//! was committed is always told.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use ejecta_core::protocol::{
    ClaimRequest, ClaimResponse, HeartbeatRequest, HeartbeatResponse, PROTOCOL, ReleaseRequest,
    SubmitRequest, SubmitResponse,
};
use serde::Deserialize;
use tracing::Instrument as _;

use super::error::ApiError;
use super::extract::{AgentName, Body, body_bytes, parse};
use super::{MAX_BODY_BYTES, MAX_SUBMIT_BYTES};
use crate::coordinator::{Coordinator, CoordinatorError};

/// Runs `work` to its end, whatever becomes of the request.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, CoordinatorError>> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(ApiError::panicked()),
    }
}

/// A claim whose protocol is ours: another one is refused by its version, before what it calls a
/// claim is looked at.
pub(super) struct OurClaim(ClaimRequest);

/// The one field that a claim has in all versions.
#[derive(Deserialize)]
struct AnyClaim {
    protocol: u32,
}

impl<S: Send + Sync> FromRequest<S> for OurClaim {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes = body_bytes(request, MAX_BODY_BYTES).await?;
        let AnyClaim { protocol } = parse(&bytes)?;
        if protocol != PROTOCOL {
            return Err(CoordinatorError::Protocol(protocol).into());
        }
        Ok(Self(parse(&bytes)?))
    }
}

pub(super) async fn claim(
    AgentName(agent): AgentName,
    State(coordinator): State<Arc<Coordinator>>,
    OurClaim(request): OurClaim,
) -> Result<Json<ClaimResponse>, ApiError> {
    to_the_end(async move { coordinator.claim(&agent, &request).await })
        .await
        .map(Json)
}

pub(super) async fn heartbeat(
    AgentName(agent): AgentName,
    State(coordinator): State<Arc<Coordinator>>,
    Body(request): Body<HeartbeatRequest, MAX_BODY_BYTES>,
) -> Result<Json<HeartbeatResponse>, ApiError> {
    to_the_end(async move { coordinator.heartbeat(&agent, &request).await })
        .await
        .map(Json)
}

pub(super) async fn submit(
    AgentName(agent): AgentName,
    State(coordinator): State<Arc<Coordinator>>,
    Body(request): Body<SubmitRequest, MAX_SUBMIT_BYTES>,
) -> Result<Json<SubmitResponse>, ApiError> {
    to_the_end(async move { coordinator.submit(&agent, &request).await })
        .await
        .map(Json)
}

pub(super) async fn release(
    AgentName(agent): AgentName,
    State(coordinator): State<Arc<Coordinator>>,
    Body(request): Body<ReleaseRequest, MAX_BODY_BYTES>,
) -> Result<StatusCode, ApiError> {
    to_the_end(async move { coordinator.release(&agent, &request).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
