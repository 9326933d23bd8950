//! `/metrics`: what there is to alarm by and to scale by, for Prometheus.
//!
//! Labels are states, verdicts, modes, routes and the like: words of the program, of which there is
//! a bounded number. Agents, crates and experiments are never labels; the pages name them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use ejecta_core::capability::Capabilities;
use ejecta_core::compare::Verdict;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::lifecycle::State as Phase;
use jiff::Timestamp;

use super::Watch;
use super::exposition::{self, Exposition, Kind, float};
use super::picture::Picture;
use crate::api::ApiError;
use crate::experiments::unmet;

/// Answers a scrape, of whoever has a token with the scope `read`.
pub(crate) async fn metrics(
    State(watch): State<Arc<Watch>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    watch.admit_token(&headers).await?;
    let picture = watch.picture().await?;
    let mut text = Exposition::default();
    store(&picture, &mut text);
    fleet(&picture, &mut text);
    watch.coordinator.telemetry().expose(&mut text);
    process(&mut text);
    let headers = [
        (CONTENT_TYPE, exposition::CONTENT_TYPE),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, text.finish()).into_response())
}

/// What the counters of the store say.
fn store(picture: &Picture, text: &mut Exposition) {
    let metrics = &picture.metrics;
    let mut experiments = text.family(
        "ejecta_experiments",
        Kind::Gauge,
        "Experiments, by how far they are.",
    );
    for state in Phase::ALL {
        let count = metrics.experiments.get(&state).copied().unwrap_or(0);
        experiments.sample(&[("state", state.name())], float(count));
    }
    let mut jobs = text.family(
        "ejecta_jobs",
        Kind::Gauge,
        "Jobs of experiments under way that wait (queued) or that agents have (leased).",
    );
    jobs.sample(&[("state", "queued")], float(metrics.queued));
    jobs.sample(&[("state", "leased")], float(metrics.leased));
    text.one(
        "ejecta_jobs_given_up",
        Kind::Gauge,
        "Jobs that were given up, through a fault of ours, in all experiments.",
        float(metrics.errors),
    );
    let mut results = text.family(
        "ejecta_results_total",
        Kind::Counter,
        "Results in the store, by verdict.",
    );
    for verdict in Verdict::ALL {
        let count = metrics.verdicts.get(&verdict).copied().unwrap_or(0);
        results.sample(&[("verdict", verdict.name())], float(count));
    }
    text.one(
        "ejecta_oldest_queued_seconds",
        Kind::Gauge,
        "Age of the oldest experiment that has jobs waiting; 0 without one.",
        age(metrics.oldest_queued, picture.now),
    );
    text.one(
        "ejecta_outbox_messages",
        Kind::Gauge,
        "Messages to others that are not delivered yet.",
        float(metrics.messages),
    );
}

/// What agents do.
fn fleet(picture: &Picture, text: &mut Exposition) {
    let (mut working, mut idle, mut silent) = (0, 0, 0);
    for agent in &picture.agents {
        let count = match (picture.is_alive(agent), agent.jobs.is_empty()) {
            (false, _) => &mut silent,
            (true, true) => &mut idle,
            (true, false) => &mut working,
        };
        *count += 1;
    }
    let mut agents = text.family(
        "ejecta_agents",
        Kind::Gauge,
        "Agents ever heard of: working, idle, or silent for longer than a lease.",
    );
    for (state, count) in [("working", working), ("idle", idle), ("silent", silent)] {
        agents.sample(&[("state", state)], float(count));
    }
    let alive = picture.agents.iter().filter(|a| picture.is_alive(a));
    let alive: Vec<Capabilities> = alive.map(|agent| agent.capabilities.clone()).collect();
    let asks = picture.active.iter().map(|filed| &filed.requirements);
    let in_vain = asks.filter(|asked| unmet(asked, &alive).is_some()).count();
    text.one(
        "ejecta_experiments_unmet",
        Kind::Gauge,
        "Experiments under way that ask for what no agent has that is alive.",
        in_vain as f64,
    );
    let modes: BTreeMap<&ExperimentName, &'static str> = picture
        .active
        .iter()
        .map(|filed| {
            let experiment = &filed.experiment;
            (&experiment.name, experiment.config.mode.name())
        })
        .collect();
    let mut running: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let jobs = picture.agents.iter().flat_map(|agent| &agent.jobs);
    for job in jobs.clone() {
        let mode = modes.get(&job.experiment).copied().unwrap_or("unknown");
        *running.entry((mode, job.job.tier.name())).or_default() += 1;
    }
    let mut leased = text.family(
        "ejecta_leased_jobs",
        Kind::Gauge,
        "Jobs that agents have, by the mode of their experiment and their tier.",
    );
    for ((mode, scope), count) in running {
        leased.sample(&[("mode", mode), ("scope", scope)], float(count));
    }
    text.one(
        "ejecta_oldest_lease_seconds",
        Kind::Gauge,
        "Time since the grant of the job that an agent has had for longest; 0 without one.",
        age(jobs.clone().map(|job| job.granted).min(), picture.now),
    );
    text.one(
        "ejecta_oldest_progress_seconds",
        Kind::Gauge,
        "Time since the job that has stood still for longest got on; 0 without one.",
        age(jobs.map(|job| job.progressed).min(), picture.now),
    );
}

/// Seconds since then.
fn age(since: Option<Timestamp>, now: Timestamp) -> f64 {
    since.map_or(0.0, |since| {
        now.duration_since(since).as_secs_f64().max(0.0)
    })
}

/// This program and its process.
fn process(text: &mut Exposition) {
    let version = env!("CARGO_PKG_VERSION");
    text.family("ejecta_build_info", Kind::Gauge, "1, of this version.")
        .sample(&[("version", version)], 1.0);
    if let Some(bytes) = resident_bytes() {
        text.one(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Memory that the process has.",
            float(bytes),
        );
    }
}

/// Where the system says it.
fn resident_bytes() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
