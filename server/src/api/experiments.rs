//! Experiments: what agents must know of them, and what people do with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use ejecta_core::client::{
    COMMAND_KEY, CreateRequest, EditRequest, ExperimentList, ExperimentView, MAX_COMMAND_KEY,
    RetryRequest, TierView,
};
use ejecta_core::compare::Verdict;
use ejecta_core::experiment::{Config, ExperimentName};
use ejecta_core::lifecycle::State as Stage;
use ejecta_core::protocol::{ReadyRequest, UnableRequest};
use serde::Deserialize;
use serde_json::json;
use tracing::Instrument as _;

use super::error::ApiError;
use super::extract::{AgentName, Body, Whoever};
use super::{MAX_BODY_BYTES, MAX_PLAN_BYTES};
use crate::auth::{Caller, Permission};
use crate::coordinator::Coordinator;
use crate::experiments::{Changes, Done, ExperimentError, Experiments, New, Retry, Shown};
use crate::planning::PlanError;

/// Experiments in one answer, at most and by default.
const PAGE: (u32, u32) = (200, 50);

impl From<ExperimentError> for ApiError {
    fn from(error: ExperimentError) -> Self {
        let message = error.to_string();
        match error {
            ExperimentError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, message),
            ExperimentError::Exists(_)
            | ExperimentError::WrongState { .. }
            | ExperimentError::NothingToRetry { .. } => Self::new(StatusCode::CONFLICT, message),
            ExperimentError::Invalid(_) => Self::new(StatusCode::BAD_REQUEST, message),
            ExperimentError::Planning(PlanError::Transient(message)) => Self::not_now(message),
            ExperimentError::Planning(_) => Self::broken(message),
            ExperimentError::Store(error) => error.into(),
        }
    }
}

/// A name in the path: what is no name, there is not.
fn name(text: String) -> Result<ExperimentName, ApiError> {
    ExperimentName::new(text)
        .map_err(|error| ApiError::new(StatusCode::NOT_FOUND, error.to_string()))
}

/// The key of a command, if there is one. Each token has keys of its own.
pub(super) struct Command(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Command {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Some(key) = parts.headers.get(COMMAND_KEY).cloned() else {
            return Ok(Self(None));
        };
        let Whoever(caller) = Whoever::from_request_parts(parts, state).await?;
        let decent = |key: &&str| (1..=MAX_COMMAND_KEY).contains(&key.len());
        match key.to_str().ok().filter(decent) {
            Some(key) => Ok(Self(Some(format!("token {}: {key}", caller.token)))),
            None => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                format!("`{COMMAND_KEY}` has 1 to {MAX_COMMAND_KEY} printable ASCII characters"),
            )),
        }
    }
}

/// Works to the end, whatever becomes of the request: what was begun is finished.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ExperimentError>> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(ApiError::panicked()),
    }
}

pub(super) async fn config(
    Whoever(caller): Whoever,
    State(coordinator): State<Arc<Coordinator>>,
    Path(text): Path<String>,
) -> Result<Json<Config>, ApiError> {
    if !caller.scopes.allow(Permission::Read) {
        caller.as_agent()?;
    }
    Ok(Json(coordinator.config(&name(text)?).await?))
}

pub(super) async fn ready(
    AgentName(agent): AgentName,
    State(coordinator): State<Arc<Coordinator>>,
    Path(text): Path<String>,
    Body(request): Body<ReadyRequest, MAX_BODY_BYTES>,
) -> Result<StatusCode, ApiError> {
    coordinator.ready(&agent, &name(text)?, &request).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn unable(
    AgentName(agent): AgentName,
    State(coordinator): State<Arc<Coordinator>>,
    Path(text): Path<String>,
    Body(request): Body<UnableRequest, MAX_BODY_BYTES>,
) -> Result<StatusCode, ApiError> {
    coordinator.unable(&agent, &name(text)?, &request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which experiments are listed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// In one of these states, separated by commas.
    state: Option<String>,
    /// Behind this number.
    after: Option<i64>,
    /// At most so many.
    limit: Option<u32>,
}

pub(super) async fn list(
    Whoever(caller): Whoever,
    State(experiments): State<Arc<Experiments>>,
    Query(which): Query<Which>,
) -> Result<Json<ExperimentList>, ApiError> {
    caller.may(Permission::Read)?;
    let wrong = |error: String| ApiError::new(StatusCode::BAD_REQUEST, error);
    let states = which.state.as_deref().unwrap_or_default();
    let states = states.split(',').filter(|state| !state.is_empty());
    let states: Result<Vec<Stage>, _> = states.map(str::parse).collect();
    let states = states.map_err(|error| wrong(error.to_string()))?;
    let (most, usual) = PAGE;
    let limit = which.limit.unwrap_or(usual).clamp(1, most);
    let page = experiments.list(&states, which.after, limit).await?;
    Ok(Json(ExperimentList {
        experiments: page.experiments.into_iter().map(view).collect(),
        next: page.next,
    }))
}

pub(super) async fn show(
    Whoever(caller): Whoever,
    State(experiments): State<Arc<Experiments>>,
    Path(text): Path<String>,
) -> Result<Json<ExperimentView>, ApiError> {
    caller.may(Permission::Read)?;
    Ok(Json(view(experiments.show(&name(text)?).await?)))
}

/// The token that a change is made with, as it stands beside an experiment.
const BY: &str = "by-token";

pub(super) async fn create(
    Submitter(caller): Submitter,
    State(experiments): State<Arc<Experiments>>,
    Command(command): Command,
    Body(request): Body<CreateRequest, MAX_PLAN_BYTES>,
) -> Result<(StatusCode, Json<ExperimentView>), ApiError> {
    let config = request.choices.config();
    let config =
        config.map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let new = New {
        name: request.name,
        config,
        selection: request.crates,
        seed: request.seed,
        ignore_denylist: request.ignore_denylist,
        priority: request.priority,
        requirements: request.requirements,
        facts: [(BY.to_owned(), json!(caller.token))].into(),
        command,
    };
    let done = to_the_end(async move { experiments.create(&new).await }).await?;
    Ok(made(done))
}

pub(super) async fn edit(
    Submitter(_): Submitter,
    State(experiments): State<Arc<Experiments>>,
    Path(text): Path<String>,
    Command(command): Command,
    Body(request): Body<EditRequest, MAX_PLAN_BYTES>,
) -> Result<Json<ExperimentView>, ApiError> {
    let name = name(text)?;
    let changes = Changes {
        baseline: request.baseline,
        candidate: request.candidate,
        mode: request.mode,
        scope: request.scope,
        cap_lints: request.cap_lints,
        selection: request.crates,
        seed: request.seed,
        ignore_denylist: request.ignore_denylist,
        priority: request.priority,
        requirements: request.requirements,
    };
    let work = async move { experiments.edit(&name, &changes, command.as_deref()).await };
    Ok(Json(view(to_the_end(work).await?.shown)))
}

pub(super) async fn abort(
    Submitter(caller): Submitter,
    State(experiments): State<Arc<Experiments>>,
    Path(text): Path<String>,
    Command(command): Command,
) -> Result<Json<ExperimentView>, ApiError> {
    let name = name(text)?;
    let by = format!("the token {}", caller.token);
    let work = async move { experiments.abort(&name, &by, command.as_deref()).await };
    Ok(Json(view(to_the_end(work).await?.shown)))
}

pub(super) async fn retry(
    Submitter(caller): Submitter,
    State(experiments): State<Arc<Experiments>>,
    Path(text): Path<String>,
    Command(command): Command,
    Body(request): Body<RetryRequest, MAX_BODY_BYTES>,
) -> Result<(StatusCode, Json<ExperimentView>), ApiError> {
    let retry = Retry {
        parent: name(text)?,
        name: request.name,
        verdicts: request.verdicts,
        priority: request.priority,
        facts: [(BY.to_owned(), json!(caller.token))].into(),
        command,
    };
    let done = to_the_end(async move { experiments.retry(&retry).await }).await?;
    Ok(made(done))
}

pub(super) async fn report(
    Submitter(_): Submitter,
    State(experiments): State<Arc<Experiments>>,
    Path(text): Path<String>,
    Command(command): Command,
) -> Result<Json<ExperimentView>, ApiError> {
    let name = name(text)?;
    let work = async move { experiments.retry_report(&name, command.as_deref()).await };
    Ok(Json(view(to_the_end(work).await?.shown)))
}

/// Whoever may change experiments. It stands before the body in a handler's arguments, so that
/// others are refused before theirs is read.
pub(super) struct Submitter(Caller);

impl<S: Send + Sync> FromRequestParts<S> for Submitter {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Whoever(caller) = Whoever::from_request_parts(parts, state).await?;
        caller.may(Permission::Submit)?;
        Ok(Self(caller))
    }
}

fn made(done: Done) -> (StatusCode, Json<ExperimentView>) {
    let status = match done.repeated {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    (status, Json(view(done.shown)))
}

/// An experiment as clients see it.
pub fn view(shown: Shown) -> ExperimentView {
    let mut verdicts: BTreeMap<Verdict, u64> = BTreeMap::new();
    for of_tier in shown.verdicts.values() {
        for (verdict, jobs) in of_tier {
            *verdicts.entry(*verdict).or_default() += jobs;
        }
    }
    let jobs = shown.counts.tiers.iter().map(|tier| TierView {
        tier: tier.tier,
        queued: tier.queued,
        leased: tier.leased,
        finished: tier.finished,
        errors: tier.errors,
    });
    let jobs = jobs.collect();
    let filed = shown.filed;
    ExperimentView {
        name: filed.experiment.name,
        state: filed.state,
        since: filed.since,
        created: filed.experiment.created,
        started: filed.started,
        crates: filed.experiment.selection,
        seed: filed.experiment.seed,
        config: filed.experiment.config,
        priority: filed.priority,
        requirements: filed.requirements,
        parent: filed.parent.map(|parent| parent.name),
        jobs,
        verdicts,
        place: shown.place,
        starts: shown.estimate.starts,
        ends: shown.estimate.ends,
        report: shown.report,
        problem: shown.problem.or(shown.in_vain),
    }
}
