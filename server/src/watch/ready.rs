//! `/readyz`: whether this coordinator can do its work now, and which part of it cannot.
//!
//! It is for load balancers and supervisors, who have no token: which part is said, and no more; the
//! log has the reason.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Watch;
use crate::coordinator::Coordinator;

/// How long a part may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// It answers.
    Ok,
    /// It says that it cannot.
    Failed,
    /// It does not answer in time.
    Silent,
    /// It takes no more work.
    Stopping,
}

/// Whether requests can be served, part by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Readiness {
    ready: bool,
    /// The process itself.
    coordinator: Part,
    /// The database.
    store: Part,
    /// Where logs are kept.
    logs: Part,
}

impl Readiness {
    async fn of(coordinator: &Coordinator) -> Self {
        let store = part("store", async {
            // An id that no token has: one look into an index.
            let looked_up = coordinator.store().token("").await;
            looked_up.map(drop).map_err(|error| error.to_string())
        });
        let logs = part("logs", async {
            let probed = coordinator.logs().probe().await;
            probed.map_err(|error| error.to_string())
        });
        let (store, logs) = tokio::join!(store, logs);
        let coordinator = if coordinator.is_stopping() {
            Part::Stopping
        } else {
            Part::Ok
        };
        Self {
            ready: [coordinator, store, logs].iter().all(|p| *p == Part::Ok),
            coordinator,
            store,
            logs,
        }
    }
}

async fn part(name: &'static str, asked: impl Future<Output = Result<(), String>>) -> Part {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(())) => Part::Ok,
        Ok(Err(error)) => {
            tracing::error!(part = name, %error, "not ready: failed to use a part");
            Part::Failed
        }
        Err(_) => {
            let patience_s = PATIENCE.as_secs();
            tracing::error!(part = name, patience_s, "not ready: a part does not answer");
            Part::Silent
        }
    }
}

/// Asks all parts, at most once in a while however many ask us.
pub(crate) async fn readyz(State(watch): State<Arc<Watch>>) -> Response {
    let asked = async { Ok::<_, Infallible>(Readiness::of(&watch.coordinator).await) };
    let Ok(readiness) = watch.readiness.get(asked).await;
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, [(CACHE_CONTROL, "no-store")], Json(*readiness)).into_response()
}
