//! What is shown of the store, read once for all who look within a moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ejecta_core::lifecycle::State;
use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::coordinator::Coordinator;
use crate::store::{AgentRecord, Filed, Filter, Metrics, Order, StoreError};

/// The most experiments under way that are looked at: far more than run at once.
const MAX_ACTIVE: u32 = 500;

/// Something that is made anew when it is older than a while, by one of those who want it; the
/// others wait for it.
#[derive(Debug)]
pub struct Cached<T> {
    fresh: Duration,
    made: Mutex<Option<(Instant, Arc<T>)>>,
}

impl<T> Cached<T> {
    /// Empty; what it holds is fresh for so long.
    pub fn new(fresh: Duration) -> Self {
        Self {
            fresh,
            made: Mutex::new(None),
        }
    }

    /// What it holds, made by `make` if there is nothing fresh.
    ///
    /// # Errors
    /// Those of `make`, and then it holds nothing.
    pub async fn get<E>(&self, make: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        let mut made = self.made.lock().await;
        if let Some((at, held)) = &*made
            && at.elapsed() < self.fresh
        {
            return Ok(Arc::clone(held));
        }
        *made = None;
        let held = Arc::new(make.await?);
        *made = Some((Instant::now(), Arc::clone(&held)));
        Ok(held)
    }
}

/// The fleet at one moment.
#[derive(Debug)]
pub struct Picture {
    /// When it was taken.
    pub now: Timestamp,
    /// Who was seen at this time or later is alive.
    pub alive_since: Timestamp,
    /// Figures of the whole store.
    pub metrics: Metrics,
    /// All agents, by name.
    pub agents: Vec<AgentRecord>,
    /// The experiments whose jobs are handed out, the oldest first.
    pub active: Vec<Filed>,
}

impl Picture {
    /// Takes it.
    ///
    /// # Errors
    /// The store's.
    pub async fn take(coordinator: &Coordinator) -> Result<Self, StoreError> {
        let store = coordinator.store();
        let active = Filter {
            states: &[State::Queued, State::Running],
            order: Order::OldestFirst,
            after: None,
            limit: MAX_ACTIVE,
        };
        Ok(Self {
            now: coordinator.now(),
            alive_since: coordinator.alive_since(),
            metrics: store.metrics().await?,
            agents: store.agents().await?,
            active: store.experiments(&active).await?,
        })
    }

    /// Whether the agent was heard of within a lease's time.
    pub fn is_alive(&self, agent: &AgentRecord) -> bool {
        agent.seen >= self.alive_since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_fresh_is_not_made_again_and_a_failure_is_not_kept() {
        let cached = Cached::new(Duration::from_secs(3600));
        let failed: Result<Arc<u32>, &str> = cached.get(async { Err("no") }).await;
        assert_eq!(failed, Err("no"));
        let made: Result<_, &str> = cached.get(async { Ok(1) }).await;
        assert_eq!(made.as_deref(), Ok(&1));
        let held: Result<_, &str> = cached.get(async { panic!("it is fresh") }).await;
        assert_eq!(held.as_deref(), Ok(&1));
        let stale = Cached::new(Duration::ZERO);
        for n in 0..2 {
            let made: Result<_, &str> = stale.get(async { Ok(n) }).await;
            assert_eq!(made.as_deref(), Ok(&n));
        }
    }
}
