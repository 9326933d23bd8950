//! The coordinator: what agents ask for, on a store and a log store, told as events.
//!
//! It knows nothing of HTTP; [`crate::api`] translates. The clock is passed in; lease ids are made
//! here, from the system's randomness.

mod checks;
mod enlarge;
mod error;
mod experiments;
mod hearing;
mod sweep;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ejecta_core::capability::Capabilities;
use ejecta_core::compare;
use ejecta_core::job::LeaseId;
use ejecta_core::protocol::{
    ClaimRequest, ClaimResponse, Grant, HeartbeatRequest, HeartbeatResponse, ReleaseRequest,
    SubmitRequest, SubmitResponse,
};
use ejecta_core::queue::{self, AfterLoss};
use jiff::Timestamp;
use tokio::sync::{Mutex, broadcast, watch};

use crate::event::Event;
use crate::logs::Logs;
use crate::store::{
    Beat, Beats, Claim, Claimed, Counts, LeasedJob, Lost, Measured, Released, Setback, Sighting,
    Store, Submitted,
};
use crate::watch::{Telemetry, Watching};
use checks::{bounded, check_claim, check_submission};
use hearing::Hearing;

pub use error::CoordinatorError;

/// Reads the time. The edge of a role has the real one.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The most jobs that one claim is granted.
pub const MAX_SLOTS: u32 = 256;
/// The events that a slow follower can be behind before it misses some.
const EVENTS_KEPT: usize = 4096;
/// Agents of which it is remembered when they were last heard of.
const AGENTS_KEPT: usize = 10_000;
/// How many jobs can be submitted at once, at most.
const TURNS: usize = 64;

/// The choices of a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a lease holds without a heartbeat.
    pub lease: Duration,
    /// When an agent that was granted less than it asked for should ask again.
    pub retry_after: Duration,
    /// How long a job may stay where it is, as far as its agent says, before it is taken away. Less
    /// than the longest step takes would be too short.
    pub stuck: Duration,
    /// What is shown of it, and to whom.
    pub watching: Watching,
}

impl Default for Settings {
    /// For an agent in the same process: a minute's lease, five questions a second.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            retry_after: Duration::from_millis(200),
            stuck: Duration::from_secs(3600),
            watching: Watching::default(),
        }
    }
}

/// Hands out jobs and takes results in.
pub struct Coordinator {
    store: Arc<dyn Store>,
    logs: Logs,
    clock: Clock,
    settings: Settings,
    telemetry: Arc<Telemetry>,
    stopping: watch::Sender<bool>,
    events: broadcast::Sender<Event>,
    /// A submission writes its job's logs before its record commits. Where they are plain files, whoever
    /// does that for a job holds the job's turn, so that a stale lease cannot write over the logs of the
    /// winner.
    turns: [Mutex<()>; TURNS],
    /// Since when agents can be heard.
    hearing: Hearing,
    /// When it was last written down that an agent was heard of.
    seen: std::sync::Mutex<HashMap<String, Timestamp>>,
}

impl Coordinator {
    /// A coordinator over `store`, whose jobs' logs go to `logs`.
    pub fn new(
        store: Arc<dyn Store>,
        logs: impl Into<Logs>,
        clock: Clock,
        settings: Settings,
    ) -> Self {
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let telemetry = Arc::new(Telemetry::default());
        Self {
            store: Arc::new(Measured::new(store, Arc::clone(&telemetry))),
            telemetry,
            stopping: watch::Sender::new(false),
            logs: logs.into(),
            hearing: Hearing::new(clock(), settings.lease),
            clock,
            settings,
            events,
            turns: std::array::from_fn(|_| Mutex::new(())),
            seen: std::sync::Mutex::default(),
        }
    }

    /// The store it stands on.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Where logs are kept.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Its choices.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it measures of itself.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// Says that no more work is taken: whoever follows is let go, and it is not ready any more.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Whether it stops.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Tells when it stops.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Agents that were seen at this time or later are alive.
    pub fn alive_since(&self) -> Timestamp {
        before(self.now(), self.settings.lease)
    }

    /// The time, as it sees it.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Follows what happens from now on. A follower that falls far behind is told how many events
    /// it missed.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Grants jobs to `agent`.
    ///
    /// # Errors
    /// [`CoordinatorError::Protocol`], [`CoordinatorError::Invalid`] for an agent without a decent
    /// name or without slots, [`CoordinatorError::WrongAgent`], [`CoordinatorError::Store`].
    pub async fn claim(
        &self,
        agent: &str,
        request: &ClaimRequest,
    ) -> Result<ClaimResponse, CoordinatorError> {
        check_claim(request)?;
        if request.agent != agent {
            return Err(CoordinatorError::WrongAgent {
                token: agent.to_owned(),
                named: request.agent.clone(),
            });
        }
        let slots = request.slots.min(MAX_SLOTS);
        let leases = (0..slots)
            .map(|_| new_lease())
            .collect::<Result<Vec<_>, _>>()?;
        let (now, until) = self.lease_times();
        let capabilities = request.capabilities.clone().named(agent);
        self.see(agent, Some(&capabilities), now).await?;
        let claimed = self
            .store
            .claim(Claim {
                agent: agent.to_owned(),
                capabilities,
                leases,
                now,
                until,
                expired: self.hearing.expired(now),
                alive_since: before(now, self.settings.lease),
                without: request.without.clone(),
            })
            .await?;
        self.telemetry.traffic(request.traffic);
        self.tell_claimed(&claimed, &request.agent);
        for job in claimed.granted.iter().filter(|job| job.attempt == 1) {
            self.telemetry.waited(since(job.created, now));
        }
        let lease_ms = millis(self.settings.lease);
        let grants = claimed.granted.into_iter().map(|job| Grant {
            lease: job.lease,
            lease_ms,
            attempt: job.attempt,
            experiment: job.experiment,
            krate: job.krate,
            tier: job.tier,
            options: job.options,
        });
        Ok(ClaimResponse {
            grants: grants.collect(),
            unfinished: claimed.unfinished,
            retry_after_ms: millis(self.settings.retry_after),
        })
    }

    /// Extends leases of `agent`.
    ///
    /// # Errors
    /// [`CoordinatorError::ForeignLease`], and then nothing was changed;
    /// [`CoordinatorError::Store`].
    pub async fn heartbeat(
        &self,
        agent: &str,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatResponse, CoordinatorError> {
        let heard = self.hear(agent, request).await;
        if matches!(heard, Err(CoordinatorError::Store(_))) {
            self.hearing.failed(self.now());
        }
        heard
    }

    async fn hear(
        &self,
        agent: &str,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatResponse, CoordinatorError> {
        let (now, until) = self.lease_times();
        self.see(agent, None, now).await?;
        let beats: Vec<Beat> = request
            .leases
            .iter()
            .map(|lease| Beat {
                lease: lease.clone(),
                progress: request.progress.get(lease).copied(),
            })
            .collect();
        let mut heartbeat = self
            .store
            .heartbeat(Beats {
                agent: agent.to_owned(),
                leases: beats,
                now,
                until,
                stuck_since: before(now, self.settings.stuck),
            })
            .await?;
        if let Some(foreign) = heartbeat.foreign.pop() {
            return Err(CoordinatorError::ForeignLease(foreign));
        }
        self.tell_lost(&heartbeat.stuck);
        Ok(HeartbeatResponse {
            extended: heartbeat.extended,
            lost: heartbeat.lost,
        })
    }

    /// Takes a result of `agent` in: when this returns `Ok`, record and logs are durable.
    ///
    /// # Errors
    /// [`CoordinatorError::Invalid`] for a record or log names that cannot be kept,
    /// [`CoordinatorError::ForeignLease`], [`CoordinatorError::StaleLease`],
    /// [`CoordinatorError::Store`], [`CoordinatorError::Logs`].
    pub async fn submit(
        &self,
        agent: &str,
        request: &SubmitRequest,
    ) -> Result<SubmitResponse, CoordinatorError> {
        check_submission(request)?;
        let lease = &request.lease;
        let mut job = self.job_of(agent, lease).await?;
        let mut turn = None;
        if self.logs.take_turns() {
            turn = Some(self.turn(&job).await);
            // What was true before the turn may not be true in it.
            job = self.job_of(agent, lease).await?;
        }
        if job.finished {
            return Ok(SubmitResponse::Repeated);
        }
        if queue::ran_out_of_memory(&request.record) && self.has_more_memory(&job).await? {
            return self.enlarge(lease, job).await;
        }
        self.logs
            .write(&job.experiment, &job.job, lease, &request.logs)
            .await?;
        let now = (self.clock)();
        match self.store.submit(lease, &request.record, now).await? {
            Submitted::Stale => {
                // The lease was lost while the logs were written: nobody will ever ask for them.
                let forgotten = self.logs.forget(&job.experiment, lease);
                if let Err(error) = forgotten.await {
                    tracing::warn!(%error, %lease, "left the logs of a stale submission");
                }
                Err(CoordinatorError::StaleLease(lease.clone()))
            }
            Submitted::Repeated => Ok(SubmitResponse::Repeated),
            Submitted::Committed(counts) => {
                let judged = compare::judge_job(&request.record);
                drop(turn);
                self.telemetry.worked(since(job.granted, now));
                self.tell(Event::JobFinished {
                    experiment: job.experiment,
                    job: job.job,
                    agent: job.agent,
                    attempt: job.attempt,
                    verdict: judged.verdict,
                    covered: judged.covered,
                    counts,
                });
                Ok(SubmitResponse::Committed)
            }
        }
    }

    /// Takes a job of `agent` back that has no result.
    ///
    /// # Errors
    /// [`CoordinatorError::ForeignLease`], [`CoordinatorError::StaleLease`],
    /// [`CoordinatorError::Store`].
    pub async fn release(
        &self,
        agent: &str,
        request: &ReleaseRequest,
    ) -> Result<(), CoordinatorError> {
        let job = self.job_of(agent, &request.lease).await?;
        let error = bounded(&request.error);
        let why = if request.unstarted {
            Setback::Unstarted
        } else if request.transient {
            Setback::Transient(&error)
        } else {
            Setback::Permanent(&error)
        };
        let told = (why != Setback::Unstarted).then(|| error.clone());
        let now = (self.clock)();
        match self.store.release(&request.lease, why, now).await? {
            Released::Stale => return Err(CoordinatorError::StaleLease(request.lease.clone())),
            Released::Requeued(counts) => self.tell_released(job, told, false, counts),
            Released::GivenUp(counts) => self.tell_released(job, told, true, counts),
        }
        Ok(())
    }

    /// Now, and when a lease that is granted or extended now ends.
    fn lease_times(&self) -> (Timestamp, Timestamp) {
        let now = (self.clock)();
        let until = now
            .checked_add(self.settings.lease)
            .unwrap_or(Timestamp::MAX);
        (now, until)
    }

    /// The job of a lease, if it was granted to `agent`.
    async fn job_of(&self, agent: &str, lease: &LeaseId) -> Result<LeasedJob, CoordinatorError> {
        match self.store.leased_job(lease).await? {
            Some(job) if job.agent == agent => Ok(job),
            Some(_) => Err(CoordinatorError::ForeignLease(lease.clone())),
            None => Err(CoordinatorError::StaleLease(lease.clone())),
        }
    }

    /// Writes down that an agent was heard of, several times in a lease at most.
    async fn see(
        &self,
        agent: &str,
        capabilities: Option<&Capabilities>,
        now: Timestamp,
    ) -> Result<(), CoordinatorError> {
        let every = self.settings.lease / 4;
        let key = match capabilities {
            Some(capabilities) => format!("{agent} {capabilities}"),
            None => agent.to_owned(),
        };
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let recent = seen
                .get(&key)
                .is_some_and(|at| now.duration_since(*at).unsigned_abs() < every);
            if recent {
                return Ok(());
            }
            if seen.len() >= AGENTS_KEPT {
                seen.clear();
            }
            seen.insert(key, now);
        }
        let sighting = Sighting {
            agent: agent.to_owned(),
            capabilities: capabilities.cloned(),
            now,
        };
        Ok(self.store.see_agent(sighting).await?)
    }

    async fn turn(&self, job: &LeasedJob) -> tokio::sync::MutexGuard<'_, ()> {
        let hash =
            BuildHasherDefault::<DefaultHasher>::default().hash_one((&job.experiment, &job.job));
        let at = usize::try_from(hash % TURNS as u64).expect("less than `TURNS`");
        self.turns[at].lock().await
    }

    /// Nobody need listen.
    fn tell(&self, event: Event) {
        self.telemetry.event(&event);
        let _ = self.events.send(event);
    }

    fn tell_claimed(&self, claimed: &Claimed, agent: &str) {
        self.tell_lost(&claimed.lost);
        for job in &claimed.granted {
            self.tell(Event::JobGranted {
                experiment: job.experiment.clone(),
                job: job.job(),
                agent: agent.to_owned(),
                attempt: job.attempt,
            });
        }
    }

    fn tell_lost(&self, lost: &[Lost]) {
        for lost in lost.iter().cloned() {
            tracing::warn!(
                job = %lost.job, agent = lost.agent, attempt = lost.attempt, why = ?lost.why,
                then = ?lost.then, "a lease was taken away"
            );
            self.tell(Event::JobLost {
                experiment: lost.experiment,
                job: lost.job,
                agent: lost.agent,
                attempt: lost.attempt,
                given_up: lost.then != AfterLoss::Requeue,
            });
        }
    }

    fn tell_released(&self, job: LeasedJob, error: Option<String>, given_up: bool, counts: Counts) {
        self.tell(Event::JobReleased {
            experiment: job.experiment,
            job: job.job,
            agent: job.agent,
            attempt: job.attempt,
            error,
            given_up,
            counts,
        });
    }
}

/// 128 random bits in hexadecimal: never the same twice, and nothing to guess.
fn new_lease() -> Result<LeaseId, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(LeaseId(format!("{:032x}", u128::from_be_bytes(bytes))))
}

/// How long ago that was; clocks may disagree, and then it was just now.
fn since(then: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(then).try_into().unwrap_or_default()
}

/// The time `duration` before `now`.
fn before(now: Timestamp, duration: Duration) -> Timestamp {
    now.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_never_the_same() {
        let (one, two) = (new_lease().expect("random"), new_lease().expect("random"));
        assert_ne!(one, two);
        assert_eq!(one.0.len(), 32);
    }
}
