//! `GET /api/v1/experiments/{name}/events`: an experiment, followed by server-sent events.
//!
//! | event | id | data |
//! | --- | --- | --- |
//! | `progress` | the first time, the number to go on from | `experiment`: as the API shows it; `shown`: as its page does |
//! | `result` | its number | `crate`, `tier`, `verdict`, `agent` |
//! | `end` | | the state that is the last one |
//!
//! `Last-Event-ID`, or `?after=NUMBER`, goes on behind that result and misses none; without either,
//! results are told from now on. Where nothing happens, comments keep the connection alive.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use ejecta_core::experiment::ExperimentName;
use serde::Deserialize;
use serde_json::json;

use super::Site;
use super::follow::{Follower, NoPlace, Told};
use crate::api::{ApiError, view};

/// The header in which a follower says what it has heard last.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells proxies not to hold events back.
const NO_BUFFERING: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-accel-buffering"),
    HeaderValue::from_static("no"),
);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct From {
    after: Option<i64>,
}

/// Follows an experiment.
pub(crate) async fn events(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    query: Result<Query<From>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    site.watch.admit(&headers).await?;
    let name = ExperimentName::new(name)
        .map_err(|error| ApiError::new(StatusCode::NOT_FOUND, error.to_string()))?;
    let Query(from) =
        query.map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let after = match headers.get(LAST_EVENT_ID) {
        // What a browser adds when it comes again is newer than what the address says.
        Some(last) => Some(number(last)?),
        None => from.after,
    };
    if after.is_some_and(|after| after < 0) {
        return Err(no_number());
    }
    let stopping = site.watch.coordinator.stopping();
    let followed = site.hub.follow(name, after, stopping).await;
    let follower = followed.map_err(|error| match error {
        NoPlace::Full => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "there are as many followers as there may be; ask for the experiment now and then",
        ),
        NoPlace::Failed(error) => error.into(),
    })?;
    let events = futures_util::stream::unfold(follower, next);
    let heartbeat = site.watch.watching().heartbeat;
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(heartbeat));
    let mut response = events.into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(NO_BUFFERING.0, NO_BUFFERING.1);
    Ok(response)
}

fn number(value: &HeaderValue) -> Result<i64, ApiError> {
    let text = value.to_str().ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(no_number)
}

fn no_number() -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "`Last-Event-ID` and `after` are numbers of results, from 0",
    )
}

async fn next(mut follower: Follower) -> Option<(Result<Event, Infallible>, Follower)> {
    let told = follower.next().await?;
    Some((Ok(event(&told)), follower))
}

fn event(told: &Told) -> Event {
    let (name, id, data) = match told {
        Told::Progress(progress, id) => (
            "progress",
            *id,
            json!({"experiment": view(progress.shown.clone()), "shown": progress.look}),
        ),
        Told::Result(news) => (
            "result",
            Some(news.number),
            json!({
                "crate": news.job.krate,
                "tier": news.job.tier,
                "verdict": news.verdict,
                "agent": news.agent,
            }),
        ),
        Told::End(state) => ("end", None, json!({"state": state})),
    };
    let event = Event::default().event(name).data(data.to_string());
    match id {
        Some(id) => event.id(id.to_string()),
        None => event,
    }
}
