//! What this process measures of itself: requests, calls of the store, what became of jobs.
//!
//! All of it is in memory and begins anew with the process, as counters do. Names that label it come
//! from the program, never from a request, so there is a bound to how many there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use ejecta_core::traffic::Traffic;

use tracing::Instrument as _;

use super::exposition::{CALLS, Exposition, Histogram, JOBS, Kind, float};
use crate::event::Event;
use crate::store::{ErrorClass, StoreError};
use crate::traces;

/// The route of requests that met none.
const NO_ROUTE: &str = "none";

/// Counters of one process.
#[derive(Debug)]
pub struct Telemetry(Mutex<Counted>);

#[derive(Debug)]
struct Counted {
    /// By method, route and status.
    requests: BTreeMap<(&'static str, String, u16), u64>,
    /// By route.
    request_time: BTreeMap<String, Histogram>,
    /// By verb.
    store_time: BTreeMap<&'static str, Histogram>,
    /// By verb and class of the failure.
    store_errors: BTreeMap<(&'static str, &'static str), u64>,
    /// By what happened.
    jobs: BTreeMap<&'static str, u64>,
    queue_time: Histogram,
    job_time: Histogram,
    followers: i64,
    traffic: Traffic,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self(Mutex::new(Counted {
            requests: BTreeMap::new(),
            request_time: BTreeMap::new(),
            store_time: BTreeMap::new(),
            store_errors: BTreeMap::new(),
            jobs: JOB_EVENTS.into_iter().map(|event| (event, 0)).collect(),
            queue_time: Histogram::new(JOBS),
            job_time: Histogram::new(JOBS),
            followers: 0,
            traffic: Traffic::default(),
        }))
    }
}

/// What happens to jobs, as the label says it.
const JOB_EVENTS: [&str; 6] = [
    "granted",
    "finished",
    "released",
    "unstarted",
    "lost",
    "given-up",
];

impl Telemetry {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call of the store has ended.
    pub fn store_call(&self, verb: &'static str, took: Duration, error: Option<&StoreError>) {
        let mut counted = self.counted();
        counted
            .store_time
            .entry(verb)
            .or_insert_with(|| Histogram::new(CALLS))
            .observe(took);
        if let Some(error) = error {
            let class = match error.class() {
                ErrorClass::Transient => "transient",
                ErrorClass::Permanent => "permanent",
                ErrorClass::Bug => "bug",
            };
            *counted.store_errors.entry((verb, class)).or_default() += 1;
        }
    }

    /// Something happened to a job.
    pub fn event(&self, event: &Event) {
        let (name, given_up) = match event {
            Event::JobGranted { .. } => ("granted", false),
            Event::JobFinished { .. } => ("finished", false),
            Event::JobReleased {
                error, given_up, ..
            } => match error {
                Some(_) => ("released", *given_up),
                None => ("unstarted", *given_up),
            },
            Event::JobLost { given_up, .. } => ("lost", *given_up),
            Event::JobsEnded { .. } => return,
        };
        let mut counted = self.counted();
        *counted.jobs.entry(name).or_default() += 1;
        if given_up {
            *counted.jobs.entry("given-up").or_default() += 1;
        }
    }

    /// A job was granted for the first time, so long after its experiment was created.
    pub fn waited(&self, waited: Duration) {
        self.counted().queue_time.observe(waited);
    }

    /// A job has its result, so long after it was granted.
    pub fn worked(&self, worked: Duration) {
        self.counted().job_time.observe(worked);
    }

    /// So many more (or fewer) follow experiments.
    pub fn followers(&self, more: i64) {
        self.counted().followers += more;
    }

    /// An agent has asked so much more of the registry.
    pub fn traffic(&self, more: Traffic) {
        let mut counted = self.counted();
        counted.traffic = counted.traffic.and(more);
    }

    /// A request was answered.
    pub fn request(&self, method: &'static str, route: Option<&str>, status: u16, took: Duration) {
        let route = route.unwrap_or(NO_ROUTE);
        let mut counted = self.counted();
        *counted
            .requests
            .entry((method, route.to_owned(), status))
            .or_default() += 1;
        counted
            .request_time
            .entry(route.to_owned())
            .or_insert_with(|| Histogram::new(CALLS))
            .observe(took);
    }

    /// Writes all of it down.
    pub fn expose(&self, text: &mut Exposition) {
        let counted = self.counted();
        text.one(
            "ejecta_followers",
            Kind::Gauge,
            "Those who follow experiments live.",
            counted.followers as f64,
        );
        let mut requests = text.family(
            "ejecta_http_requests_total",
            Kind::Counter,
            "Requests that were answered.",
        );
        for ((method, route, status), count) in &counted.requests {
            let status = status.to_string();
            let labels = [("method", *method), ("route", route), ("status", &status)];
            requests.sample(&labels, float(*count));
        }
        let mut times = text.family(
            "ejecta_http_request_seconds",
            Kind::Histogram,
            "Time from a request to the head of its answer.",
        );
        for (route, time) in &counted.request_time {
            times.histogram(&[("route", route)], time);
        }
        let mut times = text.family(
            "ejecta_store_call_seconds",
            Kind::Histogram,
            "Time that calls of the store took, repeated transactions included.",
        );
        for (verb, time) in &counted.store_time {
            times.histogram(&[("verb", verb)], time);
        }
        let mut errors = text.family(
            "ejecta_store_errors_total",
            Kind::Counter,
            "Calls of the store that failed.",
        );
        for ((verb, class), count) in &counted.store_errors {
            errors.sample(&[("verb", verb), ("class", class)], float(*count));
        }
        let mut jobs = text.family(
            "ejecta_job_events_total",
            Kind::Counter,
            "What happened to jobs through this coordinator.",
        );
        for (event, count) in &counted.jobs {
            jobs.sample(&[("event", event)], float(*count));
        }
        text.family(
            "ejecta_job_queue_seconds",
            Kind::Histogram,
            "Time from an experiment's creation to the first grant of each of its jobs.",
        )
        .histogram(&[], &counted.queue_time);
        text.family(
            "ejecta_job_seconds",
            Kind::Histogram,
            "Time from the grant of a job to its result.",
        )
        .histogram(&[], &counted.job_time);
        registry(counted.traffic, text);
    }
}

/// What agents have asked of the registry, and did not have to ask.
fn registry(traffic: Traffic, text: &mut Exposition) {
    let mut requests = text.family(
        "ejecta_registry_requests_total",
        Kind::Counter,
        "Requests of agents to the registry, retries included.",
    );
    requests.sample(&[("of", "index")], float(traffic.index_requests));
    requests.sample(&[("of", "crate")], float(traffic.downloads));
    let mut hits = text.family(
        "ejecta_registry_cache_hits_total",
        Kind::Counter,
        "What agents had on disk already, and did not ask the registry for.",
    );
    hits.sample(&[("of", "index")], float(traffic.index_cache_hits));
    hits.sample(&[("of", "crate")], float(traffic.download_cache_hits));
    for (name, help, count) in [
        (
            "ejecta_registry_not_modified_total",
            "Requests to the index that were answered with \"not modified\".",
            traffic.index_not_modified,
        ),
        (
            "ejecta_registry_retries_total",
            "Requests to the registry that were repeated after a failure.",
            traffic.retries,
        ),
        (
            "ejecta_registry_received_bytes_total",
            "Bytes of the registry's answers, after decompression.",
            traffic.bytes_received,
        ),
    ] {
        text.one(name, Kind::Counter, help, float(count));
    }
}

/// The methods there are; whatever else a client may invent is one.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Counts every request.
pub(crate) async fn count_requests(
    State(telemetry): State<Arc<Telemetry>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let span = traces::request(method, route, request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    traces::answered(&span, status);
    telemetry.request(method, route, status, begun.elapsed());
    response
}
