//! What an agent must know of an experiment.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use ejecta_core::experiment::{Config, ExperimentName};

use super::error::ApiError;
use crate::coordinator::Coordinator;

pub(super) async fn config(
    State(coordinator): State<Arc<Coordinator>>,
    Path(name): Path<String>,
) -> Result<Json<Config>, ApiError> {
    let name = ExperimentName::new(name)
        .map_err(|error| ApiError::new(StatusCode::NOT_FOUND, error.to_string()))?;
    Ok(Json(coordinator.config(&name).await?))
}
