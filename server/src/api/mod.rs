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
mod limits;
mod me;
mod tokens;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::auth::{Gate, Refused, bearer};
use crate::coordinator::Coordinator;
use crate::experiments::Experiments;
use crate::front::Front;
use crate::serve::{self, Connections};
use crate::watch::{self, Watch};
use limits::Meter;

pub(crate) use error::ApiError;
pub use experiments::view;
pub use limits::Limits;

/// The largest submission, in bytes: a record and all its logs.
pub const MAX_SUBMIT_BYTES: usize = 64 * 1024 * 1024;
/// The largest request for an experiment, in bytes: a list of all crates there are is a part of it.
pub const MAX_PLAN_BYTES: usize = 16 * 1024 * 1024;
/// The largest body of any other request, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// An API that is put together.
pub struct Service {
    coordinator: Arc<Coordinator>,
    gate: Arc<Gate>,
    experiments: Option<Arc<Experiments>>,
    limits: Limits,
    open: Router,
}

impl Service {
    /// The API of `coordinator` for agents, for those whom `gate` lets pass.
    pub fn new(coordinator: Arc<Coordinator>, gate: Arc<Gate>) -> Self {
        Self {
            coordinator,
            gate,
            experiments: None,
            limits: Limits::default(),
            open: Router::new(),
        }
    }

    /// With what people do: experiments and tokens.
    pub fn with_experiments(mut self, experiments: Arc<Experiments>) -> Self {
        self.experiments = Some(experiments);
        self
    }

    /// With other limits.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// With routes for which no token is needed, beside those of the API: pages, reports, webhooks.
    pub fn with_open_routes(mut self, routes: Router) -> Self {
        self.open = self.open.merge(routes);
        self
    }

    /// All routes.
    pub fn router(self) -> Router {
        let telemetry = Arc::clone(self.coordinator.telemetry());
        let watch = Watch::new(Arc::clone(&self.coordinator), Arc::clone(&self.gate));
        let mut watching = Router::new()
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(watch::readyz))
            .route("/metrics", get(watch::metrics))
            .with_state(watch);
        if let Some(experiments) = &self.experiments {
            let pages = watch::routes(&self.coordinator, &self.gate, experiments);
            watching = watching.merge(pages);
        }
        let entrance = Entrance {
            gate: self.gate,
            coordinator: Arc::clone(&self.coordinator),
            meter: Arc::new(Meter::new(self.limits)),
            places: Arc::new(Semaphore::new(self.limits.at_once)),
            time: Duration::from_secs(self.limits.seconds),
        };
        let mut api = Router::new()
            .route("/claim", post(jobs::claim))
            .route("/heartbeat", post(jobs::heartbeat))
            .route("/submit", post(jobs::submit))
            .route("/release", post(jobs::release))
            .route("/me", get(me::me))
            .route("/experiments/{name}/config", get(experiments::config))
            .route("/experiments/{name}/ready", post(experiments::ready))
            .route("/experiments/{name}/unable", post(experiments::unable))
            .with_state(Arc::clone(&self.coordinator));
        if let Some(experiments) = self.experiments {
            api = api
                .merge(of_people(experiments))
                .merge(of_tokens(self.coordinator));
        }
        let api = api
            .fallback(error::no_such_path)
            .method_not_allowed_fallback(error::wrong_method)
            .layer(from_fn_with_state(entrance, enter));
        Router::new()
            .nest("/api/v1", api)
            .merge(watching)
            .merge(self.open)
            .fallback(no_such_page)
            .method_not_allowed_fallback(error::wrong_method)
            .layer(from_fn_with_state(telemetry, watch::count_requests))
            .layer(from_fn(error::log_requests))
    }
}

fn of_people(service: Arc<Experiments>) -> Router {
    Router::new()
        .route(
            "/experiments",
            get(experiments::list).post(experiments::create),
        )
        .route(
            "/experiments/{name}",
            get(experiments::show).patch(experiments::edit),
        )
        .route("/experiments/{name}/abort", post(experiments::abort))
        .route("/experiments/{name}/retry", post(experiments::retry))
        .route("/experiments/{name}/report", post(experiments::report))
        .with_state(service)
}

fn of_tokens(coordinator: Arc<Coordinator>) -> Router {
    Router::new()
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{id}", delete(tokens::revoke))
        .with_state(coordinator)
}

/// The API of `coordinator` for agents, for those whom `gate` lets pass.
pub fn router(coordinator: Arc<Coordinator>, gate: Arc<Gate>) -> Router {
    Service::new(coordinator, gate).router()
}

/// Serves the API for agents on `listener` until `shutdown` ends.
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
    let shutdown = async move {
        shutdown.await;
        coordinator.stop();
    };
    serve::serve(
        Front::plain(listener)?,
        router,
        Connections::default(),
        shutdown,
    )
    .await
}

/// What it takes to know who is there, and whether there is room for them.
#[derive(Clone)]
struct Entrance {
    gate: Arc<Gate>,
    coordinator: Arc<Coordinator>,
    meter: Arc<Meter>,
    places: Arc<Semaphore>,
    time: Duration,
}

/// Lets only requests with a token pass, before anything else of them is looked at, and no more of
/// them than the limits allow. What the token allows is looked at by the handlers, who find the
/// [`crate::auth::Caller`] among the request's extensions.
async fn enter(
    State(entrance): State<Entrance>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Ok(_place) = entrance.places.try_acquire() else {
        return Err(ApiError::not_now(
            "there are too many requests at once; try again".to_owned(),
        ));
    };
    let presented = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(bearer);
    let now = entrance.coordinator.now();
    let caller = match presented {
        Some(presented) => entrance.gate.caller(presented, now).await,
        None => Err(Refused::Unauthorized),
    };
    let caller = match caller {
        Ok(caller) => caller,
        Err(refused) => {
            let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
            let address = peer.map(|ConnectInfo(peer)| peer.ip());
            let unauthorized = matches!(refused, Refused::Unauthorized);
            if unauthorized && entrance.meter.failure_is_over(address, now) {
                return Err(too_many(
                    "there were too many requests without a valid token",
                ));
            }
            return Err(refused.into());
        }
    };
    if entrance.meter.token_is_over(&caller.token, now) {
        return Err(too_many("there were too many requests with this token"));
    }
    request.extensions_mut().insert(caller);
    match tokio::time::timeout(entrance.time, next.run(request)).await {
        Ok(answer) => Ok(answer),
        Err(_) => Err(ApiError::not_now(
            "this took too long; what was begun goes on, so look before you try again".to_owned(),
        )),
    }
}

fn too_many(what: &str) -> ApiError {
    let message = format!("{what}; try again, more slowly");
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, message)
}

/// A path outside the API that there is not: told as a page to those who read pages.
async fn no_such_page(uri: Uri, headers: HeaderMap) -> Response {
    let error = error::no_such_path(uri).await;
    let wanted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    match wanted.is_some_and(|accept| accept.contains("text/html")) {
        true => watch::problem(error),
        false => error.into_response(),
    }
}
