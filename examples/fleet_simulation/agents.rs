//! The fleet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ejecta_agent::client::Client;
use ejecta_agent::error::AgentError;
use ejecta_agent::sandbox::ErrorClass;
use ejecta_core::capability::Capabilities;
use ejecta_core::client::ExperimentView;
use ejecta_core::job::LeaseId;
use ejecta_core::protocol::{
    ClaimRequest, Grant, HeartbeatRequest, PROTOCOL, ReadyRequest, SubmitRequest, SubmitResponse,
};
use ejecta_core::toolchain::ToolchainInfo;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::figures::{Times, rounded, usage};
use crate::prepare::agent_name;
use crate::{HEARTBEAT, Result, RunArgs, script, synthetic};

/// What all agents share.
struct Fleet {
    args: RunArgs,
    long: String,
    done: Mutex<Done>,
}

/// What came of the jobs.
#[derive(Default)]
struct Done {
    /// How often each crate's result was committed, by its number.
    committed: BTreeMap<u64, u32>,
    repeated: u64,
    tried_again: u64,
    log_bytes: u64,
    /// When each window of results was full, since the start.
    windows: Vec<Duration>,
    claim: Times,
    submit: Times,
    heartbeat: Times,
}

impl Fleet {
    fn done(&self) -> std::sync::MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub async fn run(args: RunArgs) -> Result<Value> {
    let text = fs_err::read_to_string(&args.tokens)?;
    let mut tokens = text.lines().map(SecretString::from);
    let reader = tokens.next().ok_or("no tokens")?;
    let most = usize::try_from(args.most_log_kib * 1024)?;
    let fleet = Arc::new(Fleet {
        long: script::long_log(most + (1 << 20)),
        args,
        done: Mutex::default(),
    });
    let clients = tokens
        .map(|token| Client::new(&fleet.args.server, token))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let count = clients.len();
    let (_, cpu_before) = usage(fleet.args.pid)?;
    let begun = Instant::now();
    let mut agents = JoinSet::new();
    for (n, client) in (0..).zip(clients) {
        agents.spawn(agent(Arc::clone(&fleet), client, n, begun));
    }
    while let Some(ended) = agents.join_next().await {
        ended??;
    }
    let took = begun.elapsed();
    let (memory, cpu) = usage(fleet.args.pid)?;
    let view = view(&fleet.args, &reader).await?;
    let done = std::mem::take(&mut *fleet.done());
    said(
        &fleet.args,
        count,
        took,
        (memory, cpu - cpu_before),
        done,
        &view,
    )
}

/// The experiment, as the server sees it.
async fn view(args: &RunArgs, token: &SecretString) -> Result<ExperimentView> {
    use secrecy::ExposeSecret as _;
    let name = synthetic::input(args.crates).experiment.name;
    let address = format!("{}/api/v1/experiments/{name}", args.server);
    let answer = reqwest::Client::new()
        .get(address)
        .bearer_auth(token.expose_secret())
        .send()
        .await?;
    Ok(answer.error_for_status()?.json().await?)
}

/// One agent, until no job is left.
async fn agent(fleet: Arc<Fleet>, client: Client, n: u32, begun: Instant) -> Result<()> {
    // A fleet does not start in one moment.
    let count = u64::from(n);
    tokio::time::sleep(Duration::from_millis(script::scatter(
        count,
        7,
        0,
        fleet.args.job_ms,
    )))
    .await;
    let name = synthetic::input(fleet.args.crates).experiment.name;
    patiently(&fleet, || client.me()).await?;
    // Whoever has a job finds the experiment out, says what it has for it, and begins.
    let mut is_ready = false;
    let alive: Arc<Mutex<BTreeMap<LeaseId, u64>>> = Arc::default();
    let beating = tokio::spawn(heartbeats(
        Arc::clone(&fleet),
        client.clone(),
        Arc::clone(&alive),
    ));
    let mut running: JoinSet<Result<()>> = JoinSet::new();
    loop {
        let free = fleet.args.slots as usize - running.len();
        let request = ClaimRequest {
            protocol: PROTOCOL,
            agent: agent_name(n),
            slots: u32::try_from(free)?,
            capabilities: Capabilities::default(),
            without: Vec::new(),
            traffic: ejecta_core::traffic::Traffic::default(),
        };
        let asked = Instant::now();
        let answer = patiently(&fleet, || client.claim(&request)).await?;
        fleet.done().claim.add(asked.elapsed());
        let nothing = answer.grants.is_empty();
        if nothing && answer.unfinished == 0 && running.is_empty() {
            break;
        }
        if !nothing && !is_ready {
            patiently(&fleet, || client.config(&name)).await?;
            let ready = ready();
            patiently(&fleet, || client.ready(&name, &ready)).await?;
            is_ready = true;
        }
        for grant in answer.grants {
            let (fleet, client, alive) = (Arc::clone(&fleet), client.clone(), Arc::clone(&alive));
            running.spawn(async move { job(&fleet, &client, grant, &alive, begun).await });
        }
        let wait = Duration::from_millis(answer.retry_after_ms);
        tokio::select! {
            Some(ended) = running.join_next(), if !running.is_empty() => ended??,
            () = tokio::time::sleep(wait), if nothing || running.len() < fleet.args.slots as usize => {}
        }
    }
    beating.abort();
    Ok(())
}

/// What an agent says that it runs the experiment with.
fn ready() -> ReadyRequest {
    let info = |version: &str| ToolchainInfo {
        rustc: format!("rustc {version} (0123456789 2026-05-19)\n"),
        cargo: format!("cargo {version} (0123456789 2026-05-19)\n"),
    };
    ReadyRequest {
        baseline: info("1.95.0"),
        candidate: info("1.96.0-beta.3"),
        patches: Vec::new(),
        sandbox: "none: a simulation".to_owned(),
    }
}

async fn heartbeats(fleet: Arc<Fleet>, client: Client, alive: Arc<Mutex<BTreeMap<LeaseId, u64>>>) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let progress = alive.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if progress.is_empty() {
            continue;
        }
        let request = HeartbeatRequest {
            leases: progress.keys().cloned().collect(),
            progress,
        };
        let asked = Instant::now();
        let answer = client.heartbeat(&request, HEARTBEAT).await;
        let mut done = fleet.done();
        // What it says is lost may have been handed in meanwhile; what really is fails at the end.
        match answer {
            Ok(_) => done.heartbeat.add(asked.elapsed()),
            Err(_) => done.tried_again += 1,
        }
    }
}

/// One job: it takes its time, and hands in.
async fn job(
    fleet: &Fleet,
    client: &Client,
    grant: Grant,
    alive: &Mutex<BTreeMap<LeaseId, u64>>,
    begun: Instant,
) -> Result<()> {
    let n = script::number(&grant.krate);
    let lock = || alive.lock().unwrap_or_else(PoisonError::into_inner);
    lock().insert(grant.lease.clone(), 1);
    let args = &fleet.args;
    let time = script::scatter(n, 5, args.job_ms / 2, args.job_ms * 3 / 2);
    tokio::time::sleep(Duration::from_millis(time)).await;
    let kib = script::scatter(n, 6, args.least_log_kib, args.most_log_kib);
    let record = script::record(n);
    let logs = script::logs(&record, &fleet.long, n, kib);
    let log_bytes: usize = logs.iter().map(|log| log.text.len()).sum();
    let request = SubmitRequest {
        lease: grant.lease.clone(),
        record,
        logs,
    };
    let asked = Instant::now();
    let answer = patiently(fleet, || client.submit(&request)).await?;
    lock().remove(&grant.lease);
    let mut done = fleet.done();
    done.submit.add(asked.elapsed());
    done.log_bytes += log_bytes as u64;
    match answer {
        SubmitResponse::Committed => *done.committed.entry(n).or_default() += 1,
        SubmitResponse::Repeated => done.repeated += 1,
        SubmitResponse::Enlarged => return Err("a job was enlarged, and none asks for it".into()),
    }
    if (done.committed.len() as u64).is_multiple_of(args.window) {
        done.windows.push(begun.elapsed());
    }
    Ok(())
}

/// Tries a call until it gets through, as agents do.
async fn patiently<T, F: Future<Output = std::result::Result<T, AgentError>>>(
    fleet: &Fleet,
    call: impl Fn() -> F,
) -> Result<T> {
    for failures in 0..100 {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.class() == ErrorClass::Transient => {
                fleet.done().tried_again += 1;
                let pause = Duration::from_millis(250) * 2_u32.pow(failures.min(5));
                tokio::time::sleep(ejecta_agent::worker::jittered(pause)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err("the server did not answer a hundred times".into())
}

fn said(
    args: &RunArgs,
    agents: usize,
    took: Duration,
    (memory, cpu): (u64, f64),
    done: Done,
    view: &ExperimentView,
) -> Result<Value> {
    let doubled = done.committed.values().filter(|times| **times > 1).count();
    let in_store: u64 = view.jobs.iter().map(|tier| tier.finished).sum();
    let committed = done.committed.len() as u64;
    if doubled > 0 || committed + done.repeated < args.crates || in_store != args.crates {
        return Err(format!(
            "of {} jobs {committed} were committed ({doubled} of them twice), {} repeated, and the \
             server has {in_store}",
            args.crates, done.repeated
        )
        .into());
    }
    let mut before = Duration::ZERO;
    let mut rates = Vec::new();
    for at in done.windows {
        rates.push((args.window as f64 / (at - before).as_secs_f64()).round());
        before = at;
    }
    Ok(json!({
        "name": args.name,
        "agents": agents,
        "jobs": args.crates,
        "seconds": rounded(took.as_secs_f64()),
        "results_per_second": (args.crates as f64 / took.as_secs_f64()).round(),
        "rates": rates,
        "claim": done.claim.summary(),
        "submit": done.submit.summary(),
        "heartbeat": done.heartbeat.summary(),
        "server_peak_mib": memory,
        "server_cpu_ms_per_result": cpu * 1000.0 / args.crates as f64,
        "log_kib_per_result": done.log_bytes / 1024 / args.crates,
        "tried_again": done.tried_again,
        "repeated": done.repeated,
    }))
}
