//! The agent itself: claims jobs, runs some at once, keeps their leases alive, hands results in.
//!
//! A job ends in one of three ways. It has a record: spooled, then submitted until the coordinator
//! says that it is safe. We failed: the job is given back, with the error's class. Or the lease is
//! lost, or the agent stops: the job is dropped, and given back unstarted where it still is ours.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ejecta_core::capability::Capabilities;
use ejecta_core::job::JobId;
use ejecta_core::outcome::Side;
use ejecta_core::protocol::{ClaimRequest, Grant, PROTOCOL, ReleaseRequest, SubmitRequest};
use ejecta_core::traffic::Traffic;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::client::{Client, lease_is_lost};
use crate::contexts::{Contexts, Unfit};
use crate::error::AgentError;
use crate::health::{Begun, Health};
use crate::heart::{Alive, Leases};
use crate::job::{Progress, Task};
use crate::sandbox::ErrorClass;
use crate::spool::Spool;
use crate::traces;

pub use crate::health::jittered;

/// How an agent works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The agent's name: the one that its token is for.
    pub name: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Jobs at once, at least 1.
    pub jobs: u32,
    /// Stop when the coordinator has no unfinished job left, rather than wait for more.
    pub until_done: bool,
}

/// What an agent does, as it does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerEvent {
    /// A job was started.
    Started {
        /// Which.
        job: JobId,
    },
    /// A job prepares its crate.
    Preparing {
        /// Which.
        job: JobId,
    },
    /// A job runs a side.
    Running {
        /// Which.
        job: JobId,
        /// The toolchain.
        side: Side,
        /// The how-manieth run of the job, from 1.
        nth: u32,
    },
    /// A job is no longer with this agent.
    Ended {
        /// Which.
        job: JobId,
    },
    /// We failed to produce an outcome.
    Failed {
        /// Which job.
        job: JobId,
        /// What went wrong.
        error: String,
    },
}

/// Receives events; called from the agent's tasks, so it must be quick.
pub type EventSink = Arc<dyn Fn(WorkerEvent) + Send + Sync>;

/// An agent with a coordinator, a spool, and what its jobs need.
pub struct Worker {
    client: Client,
    spool: Spool,
    contexts: Arc<dyn Contexts>,
    options: WorkerOptions,
    events: EventSink,
    leases: Leases,
    health: Arc<Health>,
    /// What the coordinator knows of what was asked of the registry.
    told: Mutex<Traffic>,
}

/// How an agent's work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkEnd {
    /// No job is unfinished.
    Done,
    /// It was told to stop.
    Stopped,
    /// Nothing works any more: eight failures in a row, over more than a minute, none of them a
    /// crate's. Jobs are left.
    Hopeless {
        /// The last of the failures.
        error: String,
    },
}

/// Hands in what an earlier, killed process of this agent had finished.
///
/// # Errors
/// [`AgentError`] when the spool cannot be read or the coordinator does not answer.
pub async fn flush_spool(client: &Client, spool: &Spool) -> Result<usize, AgentError> {
    let mut handed_in = 0;
    for request in spool.waiting()? {
        match client.submit(&request).await {
            Ok(_) => handed_in += 1,
            Err(error) if error.class() == ErrorClass::Transient => return Err(error),
            Err(error) => {
                tracing::warn!(lease = %request.lease, %error, "dropped a spooled result");
            }
        }
        spool.forget(&request.lease)?;
    }
    Ok(handed_in)
}

impl Worker {
    /// An agent that is ready to work.
    pub fn new(
        client: Client,
        spool: Spool,
        contexts: Arc<dyn Contexts>,
        options: WorkerOptions,
        events: EventSink,
    ) -> Self {
        Self {
            client,
            spool,
            contexts,
            options,
            events,
            leases: Leases::default(),
            health: Arc::default(),
            told: Mutex::default(),
        }
    }

    /// Works until `stop` is cancelled, or until all is done where the options say so; then also
    /// until nothing works any more. When this returns no job of it runs any more.
    ///
    /// # Errors
    /// [`AgentError`] when the coordinator refuses to talk to us.
    pub async fn run(&self, stop: &CancellationToken) -> Result<WorkEnd, AgentError> {
        let heartbeats = CancellationToken::new();
        // A task of its own: nothing that this one does holds it up.
        let keeping = self
            .leases
            .clone()
            .keep(self.client.clone(), heartbeats.clone());
        let keeping = tokio::spawn(keeping);
        let result = self.work(stop).await;
        heartbeats.cancel();
        if keeping.await.is_err() {
            tracing::error!("heartbeats have ended by a bug of ejecta");
        }
        result
    }

    async fn work(&self, stop: &CancellationToken) -> Result<WorkEnd, AgentError> {
        let mut running = JoinSet::new();
        let ending = stop.child_token();
        let slots = self.options.jobs.max(1) as usize;
        while !stop.is_cancelled() {
            if let Some(error) = self.health.hopeless().filter(|_| self.options.until_done) {
                drop_all(&mut running, &ending).await;
                return Ok(WorkEnd::Hopeless { error });
            }
            let free = self.health.slots(slots - running.len(), running.len());
            let wait = match self.health.rest(Instant::now()) {
                Some(rest) => Some(jittered(rest)),
                None if free == 0 => None,
                None => match self.try_claim(free).await {
                    Ok(answer) => {
                        let done = answer.grants.is_empty() && answer.unfinished == 0;
                        if done && running.is_empty() && self.options.until_done {
                            return Ok(WorkEnd::Done);
                        }
                        for grant in answer.grants {
                            self.start(grant, &mut running, &ending);
                        }
                        let wait = Duration::from_millis(answer.retry_after_ms.max(10));
                        Some(jittered(wait))
                    }
                    Err(error) if error.is_of_the_machine() => Some(Duration::ZERO),
                    Err(error) => {
                        drop_all(&mut running, &ending).await;
                        return Err(error);
                    }
                },
            };
            let full = running.len() >= slots || wait.is_none();
            tokio::select! {
                () = stop.cancelled() => {}
                Some(_) = running.join_next(), if !running.is_empty() => {}
                () = tokio::time::sleep(wait.unwrap_or_default()), if !full => {}
            }
        }
        drop_all(&mut running, &ending).await;
        Ok(WorkEnd::Stopped)
    }

    /// Claims jobs, once the sandbox answers: a job that is claimed has one attempt less.
    async fn try_claim(
        &self,
        slots: usize,
    ) -> Result<ejecta_core::protocol::ClaimResponse, AgentError> {
        let begun = self.health.begin();
        let tried = async {
            if self.health.in_doubt() {
                self.contexts.sandbox().check().await?;
            }
            self.leases.beat_if_late(&self.client).await;
            self.claim(slots).await
        };
        tried.await.inspect_err(|error| {
            tracing::warn!(%error, "cannot begin jobs now");
            let text = error.to_string();
            self.health.failed(begun, Instant::now(), text);
        })
    }

    async fn claim(
        &self,
        slots: usize,
    ) -> Result<ejecta_core::protocol::ClaimResponse, AgentError> {
        let traffic = self.contexts.traffic();
        let request = ClaimRequest {
            protocol: PROTOCOL,
            agent: self.options.name.clone(),
            slots: u32::try_from(slots).unwrap_or(u32::MAX),
            capabilities: self.options.capabilities.clone(),
            without: self.contexts.without(),
            traffic: traffic.since(*self.told()),
        };
        let claimed = self.client.claim(&request).await?;
        *self.told() = traffic;
        Ok(claimed)
    }

    fn told(&self) -> MutexGuard<'_, Traffic> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, grant: Grant, running: &mut JoinSet<()>, ending: &CancellationToken) {
        let dropped = ending.child_token();
        let progress = Arc::new(AtomicU64::new(0));
        let alive = Alive {
            dropped: dropped.clone(),
            progress: Arc::clone(&progress),
            holds: Duration::from_millis(grant.lease_ms),
        };
        self.leases.insert(grant.lease.clone(), alive);
        let doing = Doing {
            client: self.client.clone(),
            spool: self.spool.clone(),
            contexts: Arc::clone(&self.contexts),
            patient: !self.options.until_done,
            events: Arc::clone(&self.events),
            job: JobId {
                krate: grant.krate.id(),
                tier: grant.tier,
            },
            grant,
            progress,
            health: Arc::clone(&self.health),
            begun: self.health.begin(),
            ending: ending.clone(),
        };
        let leases = self.leases.clone();
        let span = traces::job(&doing.job, &doing.grant);
        let work = async move {
            let lease = doing.grant.lease.clone();
            doing.run(&dropped).await;
            leases.remove(&lease);
        };
        running.spawn(work.instrument(span));
    }
}

/// Drops what still runs, and waits for it to be gone.
async fn drop_all(running: &mut JoinSet<()>, ending: &CancellationToken) {
    ending.cancel();
    while running.join_next().await.is_some() {}
}

/// How often a result is handed in before it is left in the spool, by an agent that ends with its
/// work.
const TRIES: u32 = 8;
/// The same by one that is told to stop: some seconds.
const LAST_TRIES: u32 = 4;

fn backoff(failures: u32) -> Duration {
    Duration::from_millis(250) * 2_u32.pow(failures.min(7))
}

/// One job under way.
struct Doing {
    client: Client,
    spool: Spool,
    contexts: Arc<dyn Contexts>,
    /// Whether it goes on handing in for as long as the agent lives.
    patient: bool,
    events: EventSink,
    job: JobId,
    grant: Grant,
    progress: Arc<AtomicU64>,
    health: Arc<Health>,
    begun: Begun,
    /// Cancelled when the agent stops.
    ending: CancellationToken,
}

impl Doing {
    fn tell(&self, event: WorkerEvent) {
        (self.events)(event);
    }

    async fn run(&self, dropped: &CancellationToken) {
        let job = self.job.clone();
        self.tell(WorkerEvent::Started { job: job.clone() });
        let task = Task {
            krate: self.grant.krate.clone(),
            tier: self.grant.tier,
            options: self.grant.options,
        };
        let report = |progress| {
            self.progress.fetch_add(1, Ordering::Relaxed);
            let job = self.job.clone();
            self.tell(match progress {
                Progress::Preparing => WorkerEvent::Preparing { job },
                Progress::Running { side, nth } => WorkerEvent::Running { job, side, nth },
            });
        };
        let work = async {
            let context = self.contexts.of(&self.grant.experiment).await?;
            Ok(context.run(&task, &report).await)
        };
        let done: Option<Result<_, Unfit>> = tokio::select! {
            done = work => Some(done),
            () = dropped.cancelled() => None,
        };
        match done {
            Some(Err(unfit)) => {
                tracing::warn!(error = %unfit, job = %self.job, "not fit for the experiment");
                self.give_back(&unfit.to_string(), true, true).await;
            }
            Some(Ok(Ok(output))) => {
                let request = SubmitRequest {
                    lease: self.grant.lease.clone(),
                    record: output.record,
                    logs: output.logs,
                };
                self.hand_in(request).await;
            }
            Some(Ok(Err(error))) => self.failed(&error).await,
            None => self.give_back("the agent stopped", true, true).await,
        }
        self.tell(WorkerEvent::Ended { job });
    }

    /// Spools the result and submits it until the coordinator has it or refuses it. That its lease
    /// is lost by now is no reason to stop: it may be because the answer was lost to a submission
    /// that was committed, and only an answer tells.
    async fn hand_in(&self, request: SubmitRequest) {
        let spooled = {
            let (spool, request) = (self.spool.clone(), request.clone());
            tokio::task::spawn_blocking(move || spool.put(&request)).await
        };
        if let Ok(Err(error)) = spooled {
            tracing::error!(%error, job = %self.job, "could not spool a result");
        }
        for failures in 1.. {
            match self.client.submit(&request).await {
                Ok(_) => {
                    self.health.worked();
                    break;
                }
                Err(error)
                    if error.class() == ErrorClass::Transient
                        && (failures < TRIES || self.patient)
                        && (failures < LAST_TRIES || !self.ending.is_cancelled()) =>
                {
                    tracing::warn!(%error, job = %self.job, "could not submit, trying again");
                    tokio::time::sleep(jittered(backoff(failures))).await;
                }
                Err(error) if error.class() == ErrorClass::Transient => {
                    // It stays in the spool, for the next start.
                    tracing::error!(%error, job = %self.job, "gave up submitting for now");
                    let now = Instant::now();
                    self.health.failed(self.begun, now, error.to_string());
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, job = %self.job, "a result was refused");
                    if !lease_is_lost(&error) {
                        self.failed(&error).await;
                    }
                    break;
                }
            }
        }
        if let Err(error) = self.spool.forget(&request.lease) {
            tracing::warn!(%error, "left a spooled result that was handed in");
        }
    }

    async fn failed(&self, error: &AgentError) {
        let text = error.to_string();
        if error.is_of_the_machine() {
            let now = Instant::now();
            self.health.failed(self.begun, now, text.clone());
        }
        tracing::info!(error = %text, job = %self.job, "no outcome, through a fault of ours");
        self.tell(WorkerEvent::Failed {
            job: self.job.clone(),
            error: text.clone(),
        });
        let transient = error.class() == ErrorClass::Transient;
        self.give_back(&text, transient, false).await;
    }

    async fn give_back(&self, error: &str, transient: bool, unstarted: bool) {
        let request = ReleaseRequest {
            lease: self.grant.lease.clone(),
            error: error.to_owned(),
            transient,
            unstarted,
        };
        for failures in 1.. {
            match self.client.release(&request).await {
                Ok(()) => return,
                Err(error) if lease_is_lost(&error) => return,
                Err(error) if error.class() == ErrorClass::Transient && failures < 5 => {
                    tokio::time::sleep(jittered(backoff(failures))).await;
                }
                Err(error) => {
                    // The lease runs out by itself.
                    tracing::warn!(%error, job = %self.job, "could not give a job back");
                    return;
                }
            }
        }
    }
}
