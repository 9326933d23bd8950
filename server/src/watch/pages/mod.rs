//! Pages for people: the queue, an experiment, the agents.
//!
//! A page is rendered once for all who look within a moment, and has an `ETag`, so that a reload
//! costs next to nothing. All text from outside goes through the templates' escaping, and the
//! policy lets a page load nothing but its own style sheet and script, and speak to nobody but this
//! server: a name that is markup is shown, not obeyed.

mod agents;
pub(super) mod experiment;
mod queue;
mod words;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use askama::Template;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ejecta_core::experiment::ExperimentName;
use ejecta_core::lifecycle::State as Phase;
use ejecta_core::log::clean;
use ejecta_core::report::pages::assets;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Readers, Site};
use crate::api::ApiError;

/// What a page may do: nothing but what is its own.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// Asks a browser for a token: as the password beside any name.
const ASK: HeaderValue =
    HeaderValue::from_static("Basic realm=\"Ejecta: a token as the password\", charset=\"UTF-8\"");
/// How many pages are kept for a moment.
const PAGES_KEPT: usize = 256;
/// How many experiments that have ended the first page has.
const RECENT: u32 = 20;
/// How long browsers keep the style sheet and the script before they ask whether they are the same.
const ASSET_SECONDS: u64 = 3600;

/// Something to be sent, with what tells whether a browser has it already.
#[derive(Clone)]
struct Rendered {
    status: StatusCode,
    kind: &'static str,
    etag: HeaderValue,
    body: Bytes,
}

impl Rendered {
    fn new(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let hash = Sha256::digest(&body);
        let hex: String = hash[..12]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            status,
            kind,
            etag: HeaderValue::from_str(&format!("\"{hex}\"")).expect("hex digits"),
            body,
        }
    }

    fn page(status: StatusCode, page: &impl Template) -> Self {
        let text = page
            .render()
            .expect("writing text into a string cannot fail");
        Self::new(status, "text/html; charset=utf-8", clean(&text))
    }

    /// The answer to a request with these headers.
    fn answer(&self, headers: &HeaderMap, cache: &str) -> Response {
        let has_it = self.status == StatusCode::OK && has(headers, &self.etag);
        let mut response = if has_it {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let kind = [(CONTENT_TYPE, self.kind)];
            (self.status, kind, self.body.clone()).into_response()
        };
        let head = response.headers_mut();
        head.insert(ETAG, self.etag.clone());
        if let Ok(cache) = HeaderValue::from_str(cache) {
            head.insert(CACHE_CONTROL, cache);
        }
        head.insert(VARY, HeaderValue::from_static("authorization"));
        head.insert(CONTENT_SECURITY_POLICY, POLICY);
        head.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        head.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

/// Whether whoever asks with these headers has what that tag is of.
pub(super) fn has(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let etag = etag.to_str().unwrap_or_default();
    let known = headers.get_all(IF_NONE_MATCH).iter();
    let mut known = known.filter_map(|value| value.to_str().ok());
    known.any(|tags| {
        let mut tags = tags
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|tag| tag == etag || tag == "*")
    })
}

/// Pages as they were rendered a moment ago.
pub(super) struct Pages {
    fresh: Duration,
    kept: Mutex<HashMap<String, (Instant, Rendered)>>,
}

impl Pages {
    pub(super) fn new(fresh: Duration) -> Self {
        Self {
            fresh,
            kept: Mutex::default(),
        }
    }

    fn fresh(&self, key: &str) -> Option<Rendered> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, rendered) = kept.get(key)?;
        (made.elapsed() < self.fresh).then(|| rendered.clone())
    }

    fn keep(&self, key: String, rendered: &Rendered) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= PAGES_KEPT {
            kept.retain(|_, (made, _)| made.elapsed() < self.fresh);
        }
        if kept.len() < PAGES_KEPT {
            kept.insert(key, (Instant::now(), rendered.clone()));
        }
    }
}

/// Why a page cannot be shown: what the API would say, for people.
struct Problem(ApiError);

impl<E: Into<ApiError>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, what) = (self.0.status(), self.0.message());
        let headline = match status {
            StatusCode::UNAUTHORIZED => "A token is needed",
            StatusCode::FORBIDDEN => "This token is for something else",
            StatusCode::NOT_FOUND => "There is nothing here",
            StatusCode::SERVICE_UNAVAILABLE => "Not now",
            _ => "This did not work",
        };
        let page = ProblemPage {
            place: "",
            headline,
            what,
            status: status.as_u16(),
        };
        let mut response = Rendered::page(status, &page).answer(&HeaderMap::new(), "no-store");
        self.0.mark(&mut response);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, ASK);
        }
        response
    }
}

/// An error as a page.
pub(crate) fn problem(error: ApiError) -> Response {
    Problem(error).into_response()
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    place: &'static str,
    headline: &'a str,
    what: &'a str,
    status: u16,
}

impl Site {
    /// Shows a page to whoever may look, rendered by `render` if nothing fresh is there.
    async fn show(
        &self,
        headers: &HeaderMap,
        key: String,
        render: impl Future<Output = Result<Rendered, Problem>>,
    ) -> Result<Response, Problem> {
        self.watch.admit(headers).await?;
        let watching = self.watch.watching();
        let rendered = match self.pages.fresh(&key) {
            Some(rendered) => rendered,
            None => {
                let rendered = render.await?;
                self.pages.keep(key, &rendered);
                rendered
            }
        };
        let whose = match watching.readers {
            Readers::Tokens => "private",
            Readers::Anyone => "public",
        };
        let cache = format!("{whose}, max-age={}", watching.fresh.as_secs());
        Ok(rendered.answer(headers, &cache))
    }
}

/// The queue.
pub(crate) async fn queue(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let render = async {
        let picture = site.watch.picture().await?;
        let line = site.experiments.queue().await?;
        let ended = [
            Phase::NeedsReport,
            Phase::GeneratingReport,
            Phase::Completed,
            Phase::Aborted,
            Phase::Failed,
        ];
        let recent = site.experiments.list(&ended, None, RECENT).await?;
        let page = queue::Page::new(&line, &recent.experiments, &picture);
        Ok::<_, Problem>(Rendered::page(StatusCode::OK, &page))
    };
    site.show(&headers, "/".to_owned(), render)
        .await
        .into_response()
}

/// An experiment.
pub(crate) async fn experiment(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let render = async {
        let name = ExperimentName::new(name.as_str())
            .map_err(|error| ApiError::new(StatusCode::NOT_FOUND, error.to_string()))?;
        let shown = site.experiments.show(&name).await?;
        let store = site.experiments.store();
        let failures = match shown.counts.errors() {
            0 => Vec::new(),
            _ => store.failures(&name, experiment::MAX_FAILURES).await?,
        };
        let page = experiment::Page::new(&shown, failures, site.experiments.now());
        let page = page.with_live_report(site.watch.watching().live_reports);
        Ok::<_, Problem>(Rendered::page(StatusCode::OK, &page))
    };
    let key = format!("/experiments/{name}");
    site.show(&headers, key, render).await.into_response()
}

/// Which page of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    page: usize,
}

/// The agents.
pub(crate) async fn agents(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    which: Result<Query<Which>, QueryRejection>,
) -> Response {
    let page = which.map_or(1, |Query(which)| which.page);
    let render = async {
        let picture = site.watch.picture().await?;
        let page = agents::Page::new(&picture, page);
        Ok::<_, Problem>(Rendered::page(StatusCode::OK, &page))
    };
    let key = format!("/agents/{page}");
    site.show(&headers, key, render).await.into_response()
}

static STYLE: LazyLock<Rendered> = LazyLock::new(|| {
    let own = include_str!("../../../assets/watch.css");
    let both = format!("{}\n{own}", ejecta_core::report::STYLE);
    Rendered::new(StatusCode::OK, "text/css; charset=utf-8", both)
});

static SCRIPT: LazyLock<Rendered> = LazyLock::new(|| {
    let script = include_str!("../../../assets/live.js");
    Rendered::new(StatusCode::OK, "text/javascript; charset=utf-8", script)
});

static ICON: LazyLock<Rendered> =
    LazyLock::new(|| Rendered::new(StatusCode::OK, "image/svg+xml", assets::ICON));

static DESCRIPTION: LazyLock<Rendered> = LazyLock::new(|| {
    let text = include_str!("../../../../docs/openapi.json");
    Rendered::new(StatusCode::OK, "application/json", text)
});

static ROBOTS: LazyLock<Rendered> = LazyLock::new(|| {
    let text = "User-agent: *\nDisallow: /\n";
    Rendered::new(StatusCode::OK, "text/plain; charset=utf-8", text)
});

fn asset(asset: &Rendered, headers: &HeaderMap) -> Response {
    asset.answer(headers, &format!("public, max-age={ASSET_SECONDS}"))
}

/// The style sheet of reports, and what the live pages need beside it.
pub(crate) async fn style(headers: HeaderMap) -> Response {
    asset(&STYLE, &headers)
}

/// What makes pages live.
pub(crate) async fn script(headers: HeaderMap) -> Response {
    asset(&SCRIPT, &headers)
}

/// The icon, where browsers look for it: they do so for logs, too, which cannot name one.
pub(crate) async fn icon(headers: HeaderMap) -> Response {
    asset(&ICON, &headers)
}

/// What there is to be asked, for programs.
pub(crate) async fn description(headers: HeaderMap) -> Response {
    asset(&DESCRIPTION, &headers)
}

/// Pages that change all the time are of no use to whoever collects pages.
pub(crate) async fn robots(headers: HeaderMap) -> Response {
    asset(&ROBOTS, &headers)
}
