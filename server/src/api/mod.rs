//! The protocol of [`ejecta_core::protocol`] over HTTP.
//!
//! A handler reads a request, asks the [`Coordinator`], and writes the answer; it decides nothing.
//! Every answer that is an error has an [`ejecta_core::protocol::ErrorBody`] and is logged once,
//! in one place, never with the token.

mod error;
mod experiments;
mod extract;
mod health;
mod jobs;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::auth::{Gate, Refused, bearer};
use crate::coordinator::Coordinator;
use crate::watch::{self, Watch};

pub(crate) use error::ApiError;

/// The largest submission, in bytes: a record and all its logs.
pub const MAX_SUBMIT_BYTES: usize = 64 * 1024 * 1024;
/// The largest body of any other request, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// How long requests that are under way may take once the server shuts down.
const GRACE: Duration = Duration::from_secs(10);

/// The API of `coordinator`, for those whom `gate` lets pass.
pub fn router(coordinator: Arc<Coordinator>, gate: Arc<Gate>) -> Router {
    let telemetry = Arc::clone(coordinator.telemetry());
    let watching = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(watch::readyz))
        .route("/metrics", get(watch::metrics))
        .with_state(Watch::new(Arc::clone(&coordinator), Arc::clone(&gate)));
    let entrance = Entrance {
        gate,
        coordinator: Arc::clone(&coordinator),
    };
    let api = Router::new()
        .route("/claim", post(jobs::claim))
        .route("/heartbeat", post(jobs::heartbeat))
        .route("/submit", post(jobs::submit))
        .route("/release", post(jobs::release))
        .route("/experiments/{name}/config", get(experiments::config))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(from_fn_with_state(entrance, authenticate))
        .with_state(coordinator);
    Router::new()
        .nest("/api/v1", api)
        .merge(watching)
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(from_fn_with_state(telemetry, watch::count_requests))
        .layer(from_fn(error::log_errors))
}

/// Serves the API on `listener` until `shutdown` ends; then takes no more requests, and waits a
/// while for those that are under way.
///
/// # Errors
/// The listener's own.
pub async fn serve(
    listener: TcpListener,
    coordinator: Arc<Coordinator>,
    gate: Arc<Gate>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = router(Arc::clone(&coordinator), gate);
    let listener = listener.tap_io(|stream| {
        // Answers are small: waiting for more of them to send only adds latency.
        let _ = stream.set_nodelay(true);
    });
    let (stopping, stopped) = oneshot::channel();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        coordinator.stop();
        let _ = stopping.send(());
    });
    let grace_is_over = async move {
        // An error means that the server is gone, and then nobody waits here.
        let _ = stopped.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = server.into_future() => ended,
        () = grace_is_over => {
            tracing::warn!(grace_s = GRACE.as_secs(), "requests did not end in time and are cut off");
            Ok(())
        }
    }
}

/// What it takes to know who is there.
#[derive(Clone)]
struct Entrance {
    gate: Arc<Gate>,
    coordinator: Arc<Coordinator>,
}

/// Lets only requests with a token pass, before anything else of them is looked at. What the token
/// allows is looked at by the handlers, who find the [`crate::auth::Caller`] among the request's
/// extensions.
async fn authenticate(
    State(entrance): State<Entrance>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let presented = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(bearer)
        .ok_or(Refused::Unauthorized)?;
    let now = entrance.coordinator.now();
    let caller = entrance.gate.caller(presented, now).await?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}
