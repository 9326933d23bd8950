//! What an agent must know of an experiment.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use ejecta_core::experiment::{Config, ExperimentName};

use super::error::ApiError;
use super::extract::Whoever;
use crate::auth::Permission;
use crate::coordinator::Coordinator;

pub(super) async fn config(
    Whoever(caller): Whoever,
    State(coordinator): State<Arc<Coordinator>>,
    Path(name): Path<String>,
) -> Result<Json<Config>, ApiError> {
    if !caller.scopes.allow(Permission::Read) {
        caller.as_agent()?;
    }
    let name = ExperimentName::new(name)
        .map_err(|error| ApiError::new(StatusCode::NOT_FOUND, error.to_string()))?;
    Ok(Json(coordinator.config(&name).await?))
}
