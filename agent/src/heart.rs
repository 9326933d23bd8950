//! Keeps leases alive: several heartbeats in the shortest lease, and one before anything else is
//! asked for after a long silence.
//!
//! A coordinator takes leases away that it has not heard of for a lease's time, on the occasion of
//! the next claim. So an agent that was held up (a suspended machine, a stopped process) has to say
//! that it is alive before it asks for more, or it would be given its own jobs a second time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ejecta_core::job::LeaseId;
use ejecta_core::protocol::HeartbeatRequest;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::client::Client;

/// The longest time between heartbeats, however long leases hold.
const LONGEST: Duration = Duration::from_secs(5);
/// The longest time that one heartbeat may take: another one, on another connection, may get
/// through where this one hangs.
const LONGEST_CALL: Duration = Duration::from_secs(20);

/// A lease that is alive here.
#[derive(Debug, Clone)]
pub(crate) struct Alive {
    /// Drops its job.
    pub(crate) dropped: CancellationToken,
    /// Changes whenever its job has got on.
    pub(crate) progress: Arc<AtomicU64>,
    /// How long it holds without a heartbeat.
    pub(crate) holds: Duration,
}

/// A moment by both clocks: one of them stands still while a machine is suspended, the other may
/// be set.
#[derive(Debug, Clone, Copy)]
struct Moment(Instant, SystemTime);

impl Moment {
    fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    /// Whether it is longer ago than `time`, or may be.
    fn is_past(self, time: Duration) -> bool {
        self.0.elapsed() > time || self.1.elapsed().map_or(true, |by_wall| by_wall > time)
    }
}

/// The leases that are alive here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    granted: Notify,
}

#[derive(Debug, Default)]
struct State {
    alive: BTreeMap<LeaseId, Alive>,
    /// When the coordinator was last told of all of them.
    told: Option<Moment>,
}

impl State {
    fn shortest(&self) -> Option<Duration> {
        self.alive.values().map(|alive| alive.holds).min()
    }

    /// How often it is to be told.
    fn every(&self) -> Option<Duration> {
        self.shortest().map(|lease| (lease / 4).min(LONGEST))
    }
}

impl Leases {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lease was granted just now.
    pub(crate) fn insert(&self, lease: LeaseId, alive: Alive) {
        let mut state = self.state();
        if state.alive.is_empty() {
            state.told = Some(Moment::now());
        }
        state.alive.insert(lease, alive);
        drop(state);
        self.0.granted.notify_one();
    }

    /// A lease is no longer of interest.
    pub(crate) fn remove(&self, lease: &LeaseId) {
        self.state().alive.remove(lease);
    }

    /// How long to wait before the next heartbeat; `None` while there is no lease.
    fn due(&self) -> Option<Duration> {
        let state = self.state();
        let every = state.every()?;
        let since = state.told.map_or(every, |told| told.0.elapsed());
        Some(every.saturating_sub(since))
    }

    /// Extends all leases, several times in the shortest one, until it is told to stop.
    pub(crate) async fn keep(self, client: Client, stop: CancellationToken) {
        let mut tried = Instant::now();
        loop {
            // One that did not get through is not repeated at once.
            let due = self.due().map(|due| {
                let every = self.state().every().unwrap_or(LONGEST);
                due.max((every / 2).saturating_sub(tried.elapsed()))
            });
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.granted.notified() => continue,
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => {}
            }
            tried = Instant::now();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.beat(&client) => {}
            }
        }
    }

    /// Extends all leases if that was last done long ago, or if nobody knows for how long.
    pub(crate) async fn beat_if_late(&self, client: &Client) {
        let late = {
            let state = self.state();
            match (state.every(), state.told) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(every), Some(told)) => told.is_past(every * 2),
            }
        };
        if late {
            self.beat(client).await;
        }
    }

    async fn beat(&self, client: &Client) {
        let asked = Moment::now();
        let (request, shortest) = {
            let state = self.state();
            let progress: BTreeMap<LeaseId, u64> = state
                .alive
                .iter()
                .map(|(lease, alive)| (lease.clone(), alive.progress.load(Ordering::Relaxed)))
                .collect();
            let leases = progress.keys().cloned().collect();
            (HeartbeatRequest { leases, progress }, state.shortest())
        };
        let Some(shortest) = shortest else {
            return;
        };
        let patience = (shortest / 3).min(LONGEST_CALL);
        match client.heartbeat(&request, patience).await {
            Ok(answer) => {
                let mut state = self.state();
                state.told = Some(asked);
                for lost in answer.lost {
                    if let Some(job) = state.alive.get(&lost) {
                        tracing::warn!(lease = %lost, "a lease is over, dropping its job if it still runs");
                        job.dropped.cancel();
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "a heartbeat did not get through"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(seconds: u64) -> Alive {
        Alive {
            dropped: CancellationToken::new(),
            progress: Arc::default(),
            holds: Duration::from_secs(seconds),
        }
    }

    fn lease(name: &str) -> LeaseId {
        LeaseId(name.to_owned())
    }

    #[test]
    fn the_shortest_lease_says_how_often() {
        let leases = Leases::default();
        assert_eq!(leases.due(), None, "nothing to say");
        leases.insert(lease("a"), alive(60));
        assert_eq!(leases.state().every(), Some(LONGEST));
        leases.insert(lease("b"), alive(8));
        assert_eq!(leases.state().every(), Some(Duration::from_secs(2)));
        leases.remove(&lease("b"));
        assert_eq!(leases.state().every(), Some(LONGEST));
    }

    #[test]
    fn a_silence_shows_on_either_clock() {
        let now = Moment::now();
        let time = Duration::from_secs(10);
        assert!(!now.is_past(time));
        let suspended = Moment(now.0, now.1 - Duration::from_secs(60));
        assert!(suspended.is_past(time), "only the wall clock has gone on");
        let set_back = Moment(now.0, now.1 + Duration::from_secs(60));
        assert!(set_back.is_past(time), "nobody knows");
    }
}
