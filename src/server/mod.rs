//! `ejecta server`: the coordinator of a fleet, as a service.
//!
//! The parts are those of the package `ejecta-server`; here they are put together as a file says,
//! and kept going: leases are swept, reports are written, what is old is forgotten. Several servers
//! on one PostgreSQL and one place for objects do all of that side by side.

pub mod config;
mod line;
mod live;
mod planner;
mod reports;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ejecta_core::log::clean;
use ejecta_registry::Registry;
use ejecta_server::api::Service;
use ejecta_server::auth::Gate;
use ejecta_server::blobs::{Blobs, S3};
use ejecta_server::bot::{BotService, Memory};
use ejecta_server::certificate::Certificate;
use ejecta_server::experiments::Experiments;
use ejecta_server::front::Front;
use ejecta_server::reporter::Reporter;
use ejecta_server::serve;
use ejecta_server::store::{PostgresStore, SqliteStore, Store};
use ejecta_server::watch::{Readers, Watching};
use ejecta_server::{Coordinator, Settings};
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::{RegistryArgs, ServerArgs};
use crate::error::Failure;
use crate::exit::Exit;
use crate::run::sandbox::Wish;
use crate::run::setup::Setup;
use crate::run::{self, machine, now};
use config::{Config, Database, S3Config};
use live::Live;
use planner::FleetPlanner;
use reports::{Files, Reports};

/// How often leases are swept, at least; several times in one in any case.
const SWEEP: Duration = Duration::from_secs(5);
/// How often it is looked whether a report is wanted.
const LOOK: Duration = Duration::from_secs(2);
/// How often it is looked whether live pages are of an experiment that has its report.
const TIDY: Duration = Duration::from_secs(10);
/// How often it is looked whether the certificate was renewed.
const RENEW: Duration = Duration::from_secs(30);
/// How often what is old is forgotten, and how old that is.
const PRUNE: Duration = Duration::from_secs(3600);
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Opens the store of a configuration.
///
/// # Errors
/// [`Failure`] that says what the database is missing.
pub async fn open_store(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    Ok(open_both(config).await?.0)
}

/// Opens the database of a configuration: the coordinator's memory, and the bot's.
async fn open_both(config: &Config) -> Result<(Arc<dyn Store>, Arc<dyn Memory>), Failure> {
    fn both<S: Store + Memory + 'static>(store: S) -> (Arc<dyn Store>, Arc<dyn Memory>) {
        let store = Arc::new(store);
        (store.clone(), store)
    }
    Ok(match config.database()? {
        Database::Sqlite(path) => {
            if let Some(dir) = path.parent() {
                fs_err::create_dir_all(dir)
                    .map_err(|e| Failure::to(format!("make the store's directory: {e}")))?;
            }
            both(SqliteStore::open(&path).await?)
        }
        Database::Postgres(address) => {
            both(PostgresStore::open(&address, config.store.connections).await?)
        }
    })
}

/// The bot, where the configuration has one. It links to where the server is reached from outside.
fn open_bot(
    config: &Config,
    experiments: &Experiments,
    memory: Arc<dyn Memory>,
    clock: ejecta_server::Clock,
) -> Result<Option<Arc<BotService>>, Failure> {
    let Some(mut bot) = config.bot.clone() else {
        return Ok(None);
    };
    bot.web = bot.web.or_else(|| config.public_address.clone());
    let service = BotService::new(bot, experiments.clone(), memory, clock).map_err(Failure::to)?;
    Ok(Some(Arc::new(service)))
}

fn open_blobs(config: &Config) -> Result<Blobs, Failure> {
    let opened = match (&config.blobs.directory, &config.blobs.s3) {
        (Some(dir), _) => {
            fs_err::create_dir_all(dir)
                .map_err(|e| Failure::to(format!("make the directory of objects: {e}")))?;
            Blobs::directory(dir)
        }
        (None, Some(s3)) => return open_bucket(s3),
        (None, None) => return Err(Failure::input("`[blobs]` has neither directory nor bucket")),
    };
    opened.map_err(Failure::to)
}

fn open_bucket(s3: &S3Config) -> Result<Blobs, Failure> {
    let opened = Blobs::s3(&S3 {
        endpoint: s3.endpoint.clone(),
        region: s3.region.clone(),
        bucket: s3.bucket.clone(),
        access_key: s3.access_key.clone(),
        secret_key: config::secret(&s3.secret_key_file)?,
    });
    opened.map_err(Failure::to)
}

/// `ejecta server`: serves until it is told to stop.
///
/// # Errors
/// [`Failure`] when it cannot start: the configuration, the store, the port.
pub async fn server(args: &ServerArgs) -> Result<Exit, Failure> {
    let config = Config::read(&args.config)?;
    let (store, memory) = open_both(&config).await?;
    let blobs = open_blobs(&config)?;
    let files = Files::open(&config)?;
    let planner = Arc::new(planner(&config)?);
    let clock: ejecta_server::Clock = Arc::new(now);
    let gate = Arc::new(Gate::new(Arc::clone(&store), Vec::new()));
    let coordinator = Arc::new(Coordinator::new(
        Arc::clone(&store),
        blobs.clone(),
        Arc::clone(&clock),
        settings(&config),
    ));
    let lease = settings(&config).lease;
    let experiments = Experiments::new(Arc::clone(&store), planner, Arc::clone(&clock));
    let experiments = Arc::new(experiments.with_lease(lease));
    let bot = open_bot(&config, &experiments, memory, Arc::clone(&clock))?;
    let reports = Reports {
        store: Arc::clone(&store),
        blobs,
        files: files.clone(),
        bucket: config.reports.s3.as_ref().map(open_bucket).transpose()?,
    };
    let live = match config.watching.public {
        true => Some(Arc::new(Live::open(reports.clone())?)),
        false => None,
    };
    let reporter = Reporter::new(store, Arc::new(reports), clock, process_name());
    let mut service = Service::new(Arc::clone(&coordinator), gate)
        .with_experiments(experiments)
        .with_limits(config.limits());
    if files.are_shown_here() {
        service = service.with_open_routes(files.routes());
    }
    if let Some(live) = &live {
        service = service.with_open_routes(live.routes());
    }
    if let Some(bot) = &bot {
        service = service.with_open_routes(bot.router());
    }
    let (front, certificate) = listen(&config).await?;
    let stop = CancellationToken::new();
    let signals = run::interrupts(stop.clone());
    let tasks = TaskTracker::new();
    tasks.spawn(sweeping(Arc::clone(&coordinator), stop.clone()));
    tasks.spawn(pruning(Arc::clone(&coordinator), stop.clone()));
    if let Some(live) = live {
        tasks.spawn(tidying(live, stop.clone()));
    }
    if let Some(certificate) = certificate {
        tasks.spawn(renewing(certificate, stop.clone()));
    }
    if let Some(bot) = bot {
        let stop = stop.clone();
        tasks.spawn(async move { bot.run(stop.cancelled()).await });
    }
    let reporter = Arc::new(reporter);
    let reporting = tokio::spawn(reporting(Arc::clone(&reporter), stop.clone()));
    let stopping = {
        let (stop, coordinator) = (stop.clone(), Arc::clone(&coordinator));
        async move {
            stop.cancelled().await;
            tracing::info!("stopping: requests under way are finished, no more are taken");
            coordinator.stop();
        }
    };
    let bounds = config.connections();
    let served = serve::serve(front, service.router(), bounds, stopping).await;
    stop.cancel();
    signals.abort();
    // A report that is being written is taken on by another server, or by the next one.
    reporting.abort();
    let _ = reporting.await;
    if let Err(error) = reporter.let_go().await {
        tracing::warn!(%error, "another server will wait before it writes this one's report");
    }
    tasks.close();
    tasks.wait().await;
    served.map_err(|e| Failure::to(format!("serve: {e}")))?;
    tracing::info!("stopped");
    Ok(Exit::Nothing)
}

async fn listen(config: &Config) -> Result<(Front, Option<Arc<Certificate>>), Failure> {
    let address = config.listen;
    let failed = |e: std::io::Error| {
        Failure::to(format!("listen on {address}: {e}"))
            .hint("another server may run here; `listen` in the configuration chooses the port")
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let certificate = match &config.tls {
        None => None,
        Some(files) => {
            Some(Certificate::read(&files.certificate, &files.key).map_err(Failure::to)?)
        }
    };
    let front = match &certificate {
        None => Front::plain(listener),
        Some(certificate) => Front::tls(listener, certificate.config().map_err(Failure::to)?),
    };
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    tracing::info!("listening on {scheme}://{bound}");
    Ok((front.map_err(failed)?, certificate))
}

fn settings(config: &Config) -> Settings {
    let leases = &config.leases;
    Settings {
        lease: Duration::from_secs(leases.seconds),
        retry_after: Duration::from_millis(leases.retry_after_millis),
        stuck: Duration::from_secs(leases.stuck_seconds),
        watching: Watching {
            readers: match config.watching.public {
                true => Readers::Anyone,
                false => Readers::Tokens,
            },
            live_reports: config.watching.public,
            ..Watching::default()
        },
    }
}

fn planner(config: &Config) -> Result<FleetPlanner, Failure> {
    let args = RegistryArgs {
        url: config.registry.index.clone(),
        token_file: config.registry.token_file.clone(),
        database: config.registry.database.clone(),
        store: config.registry.store.clone(),
    };
    let (store, registry): (_, Registry) = machine::open_registry(&args)?;
    Ok(FleetPlanner {
        registry,
        database: machine::database(&args),
        store,
        wish: Wish::any(),
        denylist: run::denylist(config.denylist.as_deref())?,
        local_directories: config.local_directories,
        setup: Setup::of_registry(&args),
    })
}

/// A name that no other process has: this process of this machine, at this time.
fn process_name() -> String {
    let host = fs_err::read_to_string(Path::new("/proc/sys/kernel/hostname"));
    let host = host.map(|h| clean(h.trim())).unwrap_or_default();
    format!("{host}-{}-{}", std::process::id(), now().as_millisecond())
}

/// Takes expired leases away, whoever may be there to claim.
async fn sweeping(coordinator: Arc<Coordinator>, stop: CancellationToken) {
    let every = SWEEP.min(coordinator.settings().lease / 4);
    while !waited(every, &stop).await {
        if let Err(error) = coordinator.sweep().await {
            tracing::warn!(%error, "could not sweep leases");
        }
    }
}

async fn pruning(coordinator: Arc<Coordinator>, stop: CancellationToken) {
    loop {
        let before = now().checked_sub(KEPT).unwrap_or_default();
        match coordinator.store().prune(before).await {
            Ok(0) => {}
            Ok(forgotten) => tracing::info!(forgotten, "forgot what is old"),
            Err(error) => tracing::warn!(%error, "could not forget what is old"),
        }
        if waited(PRUNE, &stop).await {
            return;
        }
    }
}

async fn tidying(live: Arc<Live>, stop: CancellationToken) {
    while !waited(TIDY, &stop).await {
        if let Err(error) = live.forget_completed().await {
            tracing::warn!(%error, "could not look after live pages");
        }
    }
}

/// Takes a renewed certificate up. What is wrong with one is said once, not each time.
async fn renewing(certificate: Arc<Certificate>, stop: CancellationToken) {
    let mut said = None;
    while !waited(RENEW, &stop).await {
        match certificate.renew() {
            Ok(is_other) => {
                said = None;
                if is_other {
                    tracing::info!("the certificate was renewed");
                }
            }
            Err(error) => {
                let error = Some(error.to_string());
                if said != error {
                    tracing::warn!(
                        ?error,
                        "cannot use the renewed certificate, keeping the old one"
                    );
                    said = error;
                }
            }
        }
    }
}

async fn reporting(reporter: Arc<Reporter>, stop: CancellationToken) {
    while !waited(LOOK, &stop).await {
        if let Err(error) = reporter.work().await {
            tracing::warn!(%error, "could not look after reports");
        }
    }
}

/// Waits; `true` when it is time to stop.
async fn waited(time: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = tokio::time::sleep(time) => false,
    }
}
