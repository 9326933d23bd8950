//! `ejecta run`: a coordinator and one agent in one process, over loopback, and a report at the
//! end.
//!
//! The two halves know each other only by the protocol, as in a fleet: what holds here when either
//! half dies holds there.

mod event;
mod experiment;
mod following;
mod local;
pub mod machine;
mod progress;
pub mod report;
pub mod repositories;
pub mod sandbox;
pub mod select;
pub mod setup;

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ejecta_agent::client::Client;
use ejecta_agent::contexts::Only;
use ejecta_agent::fetch::GitStore;
use ejecta_agent::job::JobContext;
use ejecta_agent::patches::Patches;
use ejecta_agent::sandbox::Sandbox;
use ejecta_agent::spool::Spool;
use ejecta_agent::toolchain::Toolchains;
use ejecta_agent::worker::{self, WorkEnd, Worker, WorkerOptions};
use ejecta_core::capability::Capabilities;
use ejecta_core::compare::Verdict;
use ejecta_core::outcome::Side;
use ejecta_core::report::model::Results;
use ejecta_core::report::{retry, text};
use ejecta_core::traffic::Traffic;
use ejecta_registry::Store as Sources;
use ejecta_server::auth::{Gate, Permission, Scopes, TOKEN_BYTES, TokenRequest, mint};
use ejecta_server::facts;
use ejecta_server::logs::LogStore;
use ejecta_server::publish::{self, Gathered};
use ejecta_server::store::{Requeue, SqliteStore, Store as _, TokenRecord};
use ejecta_server::{Coordinator, Settings, api};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cli::{CratesArgs, CratesFormat, RunArgs};
use crate::error::Failure;
use crate::exit::Exit;
use event::RunEvent;
use experiment::Opened;
use following::Following;
use progress::Reporter;
use repositories::Repositories;
use sandbox::Wish;
use select::{Notes, Place};

pub use experiment::denylist;

/// Reads the clock; the only place of the command line that does.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that passes the time in"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// `ejecta crates`: prints what a selection means.
///
/// # Errors
/// [`Failure`] that names every crate that there is not.
pub async fn crates(
    args: &CratesArgs,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<String, Failure> {
    let (store, registry) = machine::open_registry(&args.registry)?;
    let repositories = Repositories::new(Wish::any(), &store, &store);
    let place = Place {
        registry: &registry,
        database: &machine::database(&args.registry),
        repositories: &repositories,
        seed: args.seed,
    };
    let found = select::find(&args.selection, &place, &mut Notes(tell)).await;
    repositories.close().await?;
    let selected = found?;
    Ok(match args.format {
        // What `--crates FILE` reads.
        CratesFormat::Text => retry::render(&selected.crates),
        CratesFormat::Json => {
            let all = json!({
                "selection": args.selection,
                "snapshot": selected.snapshot,
                "crates": selected.crates,
            });
            format!("{all:#}\n")
        }
    })
}

/// `ejecta run`.
///
/// # Errors
/// [`Failure`] when the experiment could not be started, or not be brought to an end.
pub async fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let mut reporter = Reporter::new(args.message_format);
    let mut args = args.clone();
    let resumed = match &args.out {
        Some(dir) if args.resume => {
            Some(experiment::resume(dir, "leave `--resume` out to start one").await?)
        }
        _ => None,
    };
    if let Some(begun) = &resumed {
        begun.setup.clone().restore(&mut args);
    }
    let (store_dir, registry) = machine::open_registry(&args.registry)?;
    let started = now();
    let dir = match &resumed {
        Some(begun) => begun.home.dir.clone(),
        None => experiment::directory(&args, started)?,
    };
    let repositories = Repositories::new(Wish::of(&args.sandbox), &dir, &store_dir);
    let begun = match resumed {
        Some(begun) => begun,
        None => {
            let mut tell = |message| reporter.tell(&RunEvent::Note { message });
            let notes = &mut Notes(&mut tell);
            experiment::create(&args, &dir, &registry, &repositories, started, notes).await?
        }
    };
    let work = begun.home.work();
    clear(&work)?;
    let repositories::Opened {
        chosen,
        store: repositories,
    } = repositories.into_opened(&begun.home.dir).await?;
    for message in chosen.notes {
        reporter.tell(&RunEvent::Note { message });
    }
    let sandbox = chosen.sandbox;
    let config = &begun.experiment.config;
    let commits = machine::commits(&args.toolchains, &store_dir);
    for message in machine::downloads(config, &commits) {
        reporter.tell(&RunEvent::Note { message });
    }
    let toolchains = machine::toolchains(config, &*sandbox, &work, &commits).await?;
    let patches = Patches::prepare(config, &repositories, &begun.home.patches()).await?;
    let opened = begun.open().await?;
    let sources = machine::open_store(&store_dir, registry)?;
    remember_start(&opened, &toolchains, &chosen.description).await?;
    let running = Running {
        opened: &opened,
        toolchains: Arc::new(toolchains),
        sources: sources.clone(),
        repositories,
        patches: Arc::new(patches),
        sandbox: Arc::clone(&sandbox),
        at_once: args.jobs.unwrap_or_else(processors),
    };
    let ended = running.drive(&mut reporter).await;
    for failure in leave(&*sandbox, &work).await {
        let message = format!("something may be left behind, until the next start: {failure}");
        reporter.tell(&RunEvent::Note { message });
    }
    let ended = async {
        let end = ended?;
        remember_end(&opened, &sources).await?;
        finish(&opened, &end, &mut reporter).await
    };
    ended.await.map_err(|failure: Failure| {
        let command = experiment::resume_command(&opened.home.dir);
        let hint = format!("what was finished is kept; go on with: {command}");
        failure.hint(hint).midway()
    })
}

/// Removes the sandboxes of this run, and what their jobs wrote. What cannot be removed is no
/// reason to lose the results.
pub async fn leave(sandbox: &dyn Sandbox, work: &Path) -> Vec<Failure> {
    let gone = sandbox.shutdown().await.map_err(Failure::from);
    let removed = remove(work);
    gone.err().into_iter().chain(removed.err()).collect()
}

/// The processors of this machine.
pub fn processors() -> u32 {
    std::thread::available_parallelism()
        .ok()
        .and_then(|n| u32::try_from(n.get()).ok())
        .unwrap_or(1)
}

/// Compilers at once in one sandbox: twice its share of the processors, since most of a job is one
/// compiler that waits for another, and the last job of a run should not crawl on one processor.
pub fn cargo_jobs(processors: u32, at_once: u32) -> u32 {
    (2 * processors)
        .div_ceil(at_once.max(1))
        .clamp(1, processors)
}

/// Empties the directory that jobs work in: what is there belongs to a dead process.
///
/// # Errors
/// [`Failure`] when something in it cannot be removed.
pub fn clear(work: &Path) -> Result<(), Failure> {
    remove(work)?;
    fs_err::create_dir_all(work).map_err(|e| Failure::to(format!("make the work directory: {e}")))
}

fn remove(work: &Path) -> Result<(), Failure> {
    if !work.exists() {
        return Ok(());
    }
    ejecta_agent::sandbox::remove_tree(work)
        .map_err(|e| Failure::to(format!("remove `{}`: {e}", work.display())))
}

async fn remember_start(
    opened: &Opened,
    toolchains: &Toolchains,
    sandbox: &str,
) -> Result<(), Failure> {
    let (store, name) = (&opened.store, &opened.experiment.name);
    let known = store.facts(name).await?;
    for (side, key) in [
        (Side::Baseline, facts::BASELINE),
        (Side::Candidate, facts::CANDIDATE),
    ] {
        let info = json!(toolchains.of(side).info);
        if known.get(key).is_some_and(|before| *before != info) {
            let spec = &toolchains.of(side).spec;
            return Err(Failure::input(format!(
                "the {side} toolchain `{spec}` is another one than when the experiment started"
            ))
            .hint(
                "half of its results would be those of another compiler; start a new experiment",
            ));
        }
        store.set_fact(name, key, &info).await?;
    }
    store
        .set_fact(name, facts::SANDBOX, &json!(sandbox))
        .await?;
    if !known.contains_key(facts::STARTED) {
        store.set_fact(name, facts::STARTED, &json!(now())).await?;
    }
    Ok(())
}

async fn remember_end(opened: &Opened, sources: &Sources) -> Result<(), Failure> {
    let (store, name) = (&opened.store, &opened.experiment.name);
    let known = store.facts(name).await?;
    let before = known.get(facts::TRAFFIC);
    let before: Traffic = before
        .and_then(|fact| serde_json::from_value(fact.clone()).ok())
        .unwrap_or_default();
    let traffic = before.and(sources.registry().traffic());
    store
        .set_fact(name, facts::TRAFFIC, &json!(traffic))
        .await?;
    let told = known.get(facts::FINISHED).is_some_and(|at| !at.is_null());
    if store.counts(name).await?.unfinished() == 0 && !told {
        store.set_fact(name, facts::FINISHED, &json!(now())).await?;
    }
    Ok(())
}

/// Everything that a run has while its jobs run.
struct Running<'a> {
    opened: &'a Opened,
    toolchains: Arc<Toolchains>,
    sources: Sources,
    repositories: GitStore,
    patches: Arc<Patches>,
    sandbox: Arc<dyn Sandbox>,
    at_once: u32,
}

impl Running<'_> {
    /// Runs all jobs, or as many as there are before an interrupt or the end of all hope.
    async fn drive(&self, reporter: &mut Reporter) -> Result<WorkEnd, Failure> {
        let logs = LogStore::new(&self.opened.home.dir);
        let store: Arc<SqliteStore> = Arc::new(self.opened.store.clone());
        let longest_step = Duration::from_secs(self.opened.experiment.config.limits.wall_seconds);
        let ordinary = Settings::default();
        let settings = Settings {
            stuck: ordinary.stuck.max(longest_step * 2),
            ..ordinary
        };
        let (record, token) = new_token()?;
        let gate = Arc::new(Gate::new(store.clone(), vec![record]));
        let coordinator = Arc::new(Coordinator::new(store, logs, Arc::new(now), settings));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.map_err(|e| Failure::to(format!("listen on loopback: {e}")))?;
        let address = listener
            .local_addr()
            .map_err(|e| Failure::to(format!("listen: {e}")))?;
        let closing = CancellationToken::new();
        let serving = {
            let coordinator = Arc::clone(&coordinator);
            let closed = closing.clone().cancelled_owned();
            tokio::spawn(async move { api::serve(listener, coordinator, gate, closed).await })
        };
        let client = Client::new(&format!("http://{address}"), token)?;
        let result = self.work(&coordinator, client, reporter).await;
        closing.cancel();
        match serving.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Failure::to(format!("serve on loopback: {error}"))),
            Err(error) => return Err(Failure::to(format!("serve on loopback: {error}"))),
        }
        result
    }

    async fn work(
        &self,
        coordinator: &Coordinator,
        client: Client,
        reporter: &mut Reporter,
    ) -> Result<WorkEnd, Failure> {
        let name = &self.opened.experiment.name;
        let spool = Spool::open(&self.opened.home.spool())?;
        // What a killed run had finished is handed in before its leases are given back.
        let handed_in = worker::flush_spool(&client, &spool).await?;
        let store = &self.opened.store;
        let requeued = store.requeue(name, Requeue::Leased, now()).await?;
        // Whoever goes on with a run has mended what was wrong, as far as they know.
        let given_up = store.requeue(name, Requeue::GivenUp, now()).await?;
        if given_up > 0 {
            let unknown = serde_json::Value::Null;
            self.opened
                .store
                .set_fact(name, facts::FINISHED, &unknown)
                .await?;
        }
        tracing::info!(
            handed_in,
            requeued,
            given_up,
            "took over from an earlier run"
        );
        let config = client.config(name).await?;
        let context = JobContext {
            config: Arc::new(config),
            toolchains: Arc::clone(&self.toolchains),
            store: self.sources.clone(),
            repositories: self.repositories.clone(),
            patches: Arc::clone(&self.patches),
            sandbox: Arc::clone(&self.sandbox),
            work: self.opened.home.work(),
            cargo_jobs: cargo_jobs(processors(), self.at_once),
        };
        let (events, from_worker) = mpsc::unbounded_channel();
        let options = WorkerOptions {
            name: AGENT.to_owned(),
            capabilities: Capabilities::default(),
            jobs: self.at_once,
            until_done: true,
        };
        let sink = Arc::new(move |event| {
            // A listener that went away is no reason to stop.
            let _ = events.send(event);
        });
        let worker = Worker::new(client, spool, Arc::new(Only::new(context)), options, sink);
        self.tell_start(reporter).await?;
        let stop = CancellationToken::new();
        let interrupts = interrupts(stop.clone());
        let mut following = Following {
            from_worker,
            from_coordinator: coordinator.subscribe(),
        };
        let result = following.tell_until(worker.run(&stop), reporter).await;
        interrupts.abort();
        let end = result?;
        if let WorkEnd::Hopeless { error } = &end {
            let message = format!("gave up, because nothing works any more: failed to {error}");
            reporter.tell(&RunEvent::Note { message });
        }
        Ok(end)
    }

    async fn tell_start(&self, reporter: &mut Reporter) -> Result<(), Failure> {
        let store = &self.opened.store;
        let name = &self.opened.experiment.name;
        let counts = store.counts(name).await?;
        let said = |side| {
            let toolchain = self.toolchains.of(side);
            [
                toolchain.spec.to_string(),
                toolchain.info.summary().to_owned(),
            ]
        };
        reporter.tell(&RunEvent::Started {
            experiment: name.to_string(),
            out: self.opened.home.dir.display().to_string(),
            baseline: said(Side::Baseline),
            candidate: said(Side::Candidate),
            crates: store.plan(name).await?.len(),
            jobs: counts.total(),
            finished: counts.total() - counts.unfinished(),
            at_once: self.at_once,
        });
        Ok(())
    }
}

/// The name of the agent in this process.
const AGENT: &str = "local";

/// A token for the agent in this process: nothing keeps it.
fn new_token() -> Result<(TokenRecord, SecretString), Failure> {
    let mut random = [0_u8; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(|e| Failure::to(format!("make a token: {e}")))?;
    let request = TokenRequest {
        label: "the agent of this run".to_owned(),
        scopes: Scopes::new([Permission::Agent]),
        agent: Some(AGENT.to_owned()),
        expires: None,
    };
    Ok(mint(request, &random, now()))
}

/// An interrupt stops the run in good order; a second one ends the process at once.
pub fn interrupts(stop: CancellationToken) -> tokio::task::JoinHandle<()> {
    use tokio::signal::unix::{SignalKind, signal};
    tokio::spawn(async move {
        let (Ok(mut int), Ok(mut term)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            tracing::warn!("cannot catch interrupts: Ctrl-C will end the run at once");
            return;
        };
        loop {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
            }
            if stop.is_cancelled() {
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
            stop.cancel();
        }
    })
}

/// Writes the report, prints the summary, and says how the run ended.
async fn finish(opened: &Opened, end: &WorkEnd, reporter: &mut Reporter) -> Result<Exit, Failure> {
    let dir = &opened.home.dir;
    let published = report::write(&opened.store, &opened.experiment, dir).await?;
    let results = published.digest;
    let exit = exit_of(&results, *end == WorkEnd::Stopped);
    let page = dir.join(publish::PAGE).display().to_string();
    let resume = experiment::resume_command(dir);
    if exit != Exit::Interrupted && !results.experiment.complete {
        let message = format!("try again what is missing with: {resume}");
        reporter.tell(&RunEvent::Note { message });
    }
    reporter.tell(&RunEvent::Finished {
        totals: results
            .totals
            .iter()
            .map(|(v, n)| (v.to_string(), *n))
            .collect(),
        coverage: results.coverage,
        complete: results.experiment.complete,
        report: page.clone(),
        exit_code: exit.code(),
    });
    reporter.summary(&text::lines_of(&results, &published.overall), &page);
    if exit == Exit::Interrupted {
        reporter.tell(&RunEvent::Interrupted { resume });
    }
    Ok(exit)
}

fn exit_of(results: &Results, interrupted: bool) -> Exit {
    if interrupted && !results.experiment.complete {
        Exit::Interrupted
    } else if results.total(Verdict::Regressed) > 0 {
        Exit::Regressed
    } else if !results.experiment.complete {
        Exit::Incomplete
    } else {
        Exit::Nothing
    }
}

/// Whether a directory is that of an experiment.
pub fn is_experiment(dir: &Path) -> bool {
    experiment::is_in(dir)
}

/// `ejecta report`: takes in the experiment of a directory, crate by crate.
///
/// # Errors
/// [`Failure`] when there is none, or another process has it.
pub async fn gather(dir: &Path) -> Result<Gathered, Failure> {
    let opened = experiment::resume(dir, "`ejecta run --out` makes one")
        .await?
        .open()
        .await?;
    let input = report::input(&opened.store, &opened.experiment).await?;
    Ok(publish::of_store(&opened.store, &input).await?)
}

/// `ejecta report --format`: reads the experiment of a directory, all of it at once.
///
/// # Errors
/// [`Failure`] when there is none, or another process has it.
pub async fn read(dir: &Path) -> Result<Results, Failure> {
    let opened = experiment::resume(dir, "`ejecta run --out` makes one")
        .await?
        .open()
        .await?;
    report::results(&opened.store, &opened.experiment).await
}
