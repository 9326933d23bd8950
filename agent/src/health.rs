//! How an agent goes on after failures that are no crate's: ever more slowly, then not at all.
//!
//! A daemon that restarts is gone for seconds; jobs have three attempts. So after a failure nothing
//! is begun for a while, a little longer each time, and from the second failure on one job goes
//! ahead alone. This module only counts: it knows nothing of jobs, sandboxes or coordinators.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After so many failures in a row, each after its pause, nothing works: more than a minute.
const TOO_MANY: u32 = 8;

/// How long nothing is begun after this many failures in a row.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        _ => Duration::from_secs(2_u64.pow(failures.min(4)).min(15)),
    }
}

/// Between half of a time and all of it, so that agents that were stopped by one fault do not all
/// come back in one moment.
pub fn jittered(wait: Duration) -> Duration {
    // The standard library seeds its hashers from the system's randomness.
    let random = RandomState::new().build_hasher().finish();
    let random = u32::try_from(random >> 32).unwrap_or_default();
    wait / 2 + (wait / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// The failures since something last worked. What was begun before the last failure and fails
/// too has most likely met the same one: it does not count again.
#[derive(Debug, Default)]
pub(crate) struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// The last one, and when.
    last: Option<(Instant, String)>,
}

/// How many failures there were when something was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun(u32);

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is begun.
    pub(crate) fn begin(&self) -> Begun {
        Begun(self.state().failures)
    }

    /// It worked.
    pub(crate) fn worked(&self) {
        *self.state() = State::default();
    }

    /// It failed, and not through a crate.
    pub(crate) fn failed(&self, begun: Begun, now: Instant, error: String) {
        let mut state = self.state();
        if begun.0 >= state.failures {
            state.failures += 1;
            state.last = Some((now, error));
        }
    }

    /// How long to begin nothing yet.
    pub(crate) fn rest(&self, now: Instant) -> Option<Duration> {
        let state = self.state();
        let (since, _) = state.last.as_ref()?;
        let rest = pause(state.failures).saturating_sub(now.duration_since(*since));
        (!rest.is_zero()).then_some(rest)
    }

    /// Whether the last thing that was tried failed.
    pub(crate) fn in_doubt(&self) -> bool {
        self.state().failures > 0
    }

    /// How many of the `free` slots to use, while `running` others are in use.
    pub(crate) fn slots(&self, free: usize, running: usize) -> usize {
        match self.state().failures {
            0 | 1 => free,
            _ if running == 0 => free.min(1),
            _ => 0,
        }
    }

    /// The last error, once there is no hope.
    pub(crate) fn hopeless(&self) -> Option<String> {
        let state = self.state();
        let (_, error) = state.last.as_ref()?;
        (state.failures >= TOO_MANY).then(|| error.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let seconds: Vec<u64> = (0..=TOO_MANY).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [0, 2, 4, 8, 15, 15, 15, 15, 15]);
        assert_eq!(pause(u32::MAX).as_secs(), 15);
    }

    #[test]
    fn jitter_keeps_half_and_never_adds() {
        let wait = Duration::from_secs(8);
        let waits: Vec<Duration> = (0..64).map(|_| jittered(wait)).collect();
        assert!(
            waits.iter().all(|w| (wait / 2..=wait).contains(w)),
            "{waits:?}"
        );
        assert!(waits.iter().any(|w| *w != waits[0]), "{waits:?}");
        assert_eq!(jittered(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn one_fault_that_ends_many_jobs_counts_once() {
        let (health, now) = (Health::default(), Instant::now());
        let jobs = [health.begin(), health.begin(), health.begin()];
        for begun in jobs {
            health.failed(begun, now, "gone".to_owned());
        }
        assert_eq!(health.rest(now), Some(pause(1)));
        assert_eq!(health.slots(4, 0), 4, "once is no pattern");
        let next = health.begin();
        health.failed(next, now, "gone".to_owned());
        assert_eq!(health.rest(now), Some(pause(2)));
        assert_eq!(
            health.rest(now + Duration::from_secs(3)),
            Some(Duration::from_secs(1))
        );
        assert_eq!(health.rest(now + Duration::from_secs(4)), None);
        assert_eq!(
            (health.slots(4, 0), health.slots(3, 1)),
            (1, 0),
            "one ahead, alone"
        );
    }

    #[test]
    fn whatever_works_ends_all_doubt() {
        let (health, now) = (Health::default(), Instant::now());
        assert!(!health.in_doubt());
        for _ in 0..TOO_MANY - 1 {
            health.failed(health.begin(), now, "gone".to_owned());
        }
        assert!(health.in_doubt() && health.hopeless().is_none());
        let late = health.begin();
        health.worked();
        assert!(!health.in_doubt());
        assert_eq!((health.rest(now), health.slots(4, 2)), (None, 4));
        health.failed(late, now, "late".to_owned());
        assert_eq!(health.rest(now), Some(pause(1)));
    }

    #[test]
    fn there_is_an_end_to_hope() {
        let (health, now) = (Health::default(), Instant::now());
        for n in 0..TOO_MANY {
            assert_eq!(health.hopeless(), None, "{n}");
            health.failed(health.begin(), now, format!("error {n}"));
        }
        assert_eq!(health.hopeless().as_deref(), Some("error 7"));
    }
}
