//! Watching a coordinator: is it ready, what does it measure, what do people see of it.
//!
//! Nothing here changes anything, and nothing costs more as results grow: what is shown comes from
//! counters, and is read once for all who look within a moment ([`Watching::fresh`]). `/healthz` and
//! `/readyz` are for supervisors and tell nothing that is worth a token; all else is for
//! [`Readers`].

mod events;
mod exposition;
mod follow;
mod metrics;
mod pages;
mod picture;
mod ready;
mod telemetry;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::auth::{Gate, Permission, Refused, bearer};
use crate::coordinator::{Coordinator, CoordinatorError};
use crate::experiments::Experiments;
use follow::Hub;

pub use telemetry::Telemetry;

pub(crate) use metrics::metrics;
pub(crate) use pages::problem;
pub(crate) use ready::readyz;
pub(crate) use telemetry::count_requests;

/// Who may look at pages and follow experiments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Readers {
    /// Whoever has a token with the scope `read`: as a bearer token, or in a browser as the password
    /// beside any name.
    #[default]
    Tokens,
    /// Anyone. Metrics want a token all the same.
    Anyone,
}

/// The choices of what is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watching {
    /// Who may look.
    pub readers: Readers,
    /// How long what was read of the store is shown before it is read again.
    pub fresh: Duration,
    /// How many may follow experiments at once.
    pub followers: usize,
    /// How often a follower is told that we are still there.
    pub heartbeat: Duration,
    /// Whether experiments that run have pages of a report below `/live/`.
    pub live_reports: bool,
}

impl Default for Watching {
    fn default() -> Self {
        Self {
            readers: Readers::default(),
            fresh: Duration::from_secs(2),
            followers: 500,
            heartbeat: Duration::from_secs(15),
            live_reports: false,
        }
    }
}

/// What those who watch share.
pub(crate) struct Watch {
    coordinator: Arc<Coordinator>,
    gate: Arc<Gate>,
    picture: picture::Cached<picture::Picture>,
    readiness: picture::Cached<ready::Readiness>,
}

impl Watch {
    pub(crate) fn new(coordinator: Arc<Coordinator>, gate: Arc<Gate>) -> Arc<Self> {
        let watching = coordinator.settings().watching;
        Arc::new(Self {
            picture: picture::Cached::new(watching.fresh),
            readiness: picture::Cached::new(watching.fresh),
            coordinator,
            gate,
        })
    }

    /// The fleet, as it was a moment ago at most.
    async fn picture(&self) -> Result<Arc<picture::Picture>, CoordinatorError> {
        let taken = picture::Picture::take(&self.coordinator);
        Ok(self.picture.get(taken).await?)
    }

    fn watching(&self) -> &Watching {
        &self.coordinator.settings().watching
    }

    /// Lets those pass who may look.
    async fn admit(&self, headers: &HeaderMap) -> Result<(), Refused> {
        match self.watching().readers {
            Readers::Anyone => Ok(()),
            Readers::Tokens => self.admit_token(headers).await,
        }
    }

    /// Lets whoever has a token with the scope `read` pass.
    async fn admit_token(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let presented = presented(headers).ok_or(Refused::Unauthorized)?;
        let now = self.coordinator.now();
        let caller = self.gate.caller(&presented, now).await?;
        caller.may(Permission::Read)
    }
}

/// Pages of experiments, and those who follow them.
pub(crate) struct Site {
    watch: Arc<Watch>,
    experiments: Arc<Experiments>,
    hub: Arc<Hub>,
    pages: pages::Pages,
}

/// The pages, the description of the API, and the route by which experiments are followed: those of
/// them that are not for anybody look at tokens themselves.
pub fn routes(
    coordinator: &Arc<Coordinator>,
    gate: &Arc<Gate>,
    experiments: &Arc<Experiments>,
) -> Router {
    let watch = Watch::new(Arc::clone(coordinator), Arc::clone(gate));
    let hub = Hub::new(
        Arc::clone(experiments),
        Arc::clone(coordinator.telemetry()),
        watch.watching().followers,
    );
    let site = Arc::new(Site {
        pages: pages::Pages::new(watch.watching().fresh),
        hub: Arc::new(hub),
        experiments: Arc::clone(experiments),
        watch,
    });
    Router::new()
        .route("/", get(pages::queue))
        .route("/agents", get(pages::agents))
        .route("/experiments/{name}", get(pages::experiment))
        .route("/robots.txt", get(pages::robots))
        .route("/assets/style.css", get(pages::style))
        .route("/assets/live.js", get(pages::script))
        .route("/favicon.ico", get(pages::icon))
        .route("/api/v1/experiments/{name}/events", get(events::events))
        .route("/api/v1/openapi.json", get(pages::description))
        .with_state(site)
}

/// The token among a request's headers: as a bearer token, or as the password that a browser asks
/// for.
fn presented(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    if let Some(token) = bearer(value) {
        return Some(token.to_owned());
    }
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (_, password) = text.split_once(':')?;
    Some(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_bearer_token_or_a_password() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().expect("a header"));
            presented(&headers)
        };
        let basic = |text: &str| of(&format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(of("Bearer ejt_x").as_deref(), Some("ejt_x"));
        assert_eq!(basic("me:ejt_x").as_deref(), Some("ejt_x"));
        assert_eq!(basic(":a:b").as_deref(), Some("a:b"));
        for wrong in ["", "Basic", "Basic %%%", "Digest ejt_x"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(basic("no colon"), None);
        assert_eq!(presented(&HeaderMap::new()), None);
    }
}
