//! Since when agents can be heard: a lease runs out when its agent was silent for that long, not
//! when nobody was there to listen.
//!
//! After a start, and after a time in which the store did not answer, or not soon, every agent has a
//! whole lease's time to say that it is alive. Otherwise the first one to ask, after a server or its
//! database was away, would be given the jobs of all others. Whether the store answers is tried each
//! time that leases are swept.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// Since when heartbeats are heard, as far as this coordinator knows.
#[derive(Debug)]
pub(super) struct Hearing {
    /// How long leases hold.
    lease: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    since: Timestamp,
    /// When the store was asked something that it has not answered yet.
    asked: Option<Timestamp>,
}

impl Hearing {
    /// From now on.
    pub(super) fn new(now: Timestamp, lease: Duration) -> Self {
        let (since, asked) = (now, None);
        Self {
            lease,
            state: Mutex::new(State { since, asked }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store takes so long for an answer that heartbeats do, too.
    fn is_deaf(&self, asked: Timestamp, now: Timestamp) -> bool {
        now.duration_since(asked).unsigned_abs() > self.lease / 4
    }

    /// The store is asked something.
    pub(super) fn asking(&self, now: Timestamp) {
        self.state().asked = Some(now);
    }

    /// It has answered.
    pub(super) fn answered(&self, now: Timestamp) {
        let mut state = self.state();
        if state
            .asked
            .take()
            .is_some_and(|asked| self.is_deaf(asked, now))
        {
            state.since = now;
        }
    }

    /// It has not: neither can it have written heartbeats down.
    pub(super) fn failed(&self, now: Timestamp) {
        let mut state = self.state();
        (state.since, state.asked) = (now, None);
    }

    /// When leases must have ended to be lost: by now, if all agents could be heard for the time of
    /// one; in the beginning of all time otherwise.
    pub(super) fn expired(&self, now: Timestamp) -> Timestamp {
        let mut state = self.state();
        if state.asked.is_some_and(|asked| self.is_deaf(asked, now)) {
            state.since = now;
        }
        // Clocks are set back now and then.
        state.since = now.min(state.since);
        if now.duration_since(state.since).unsigned_abs() >= self.lease {
            now
        } else {
            Timestamp::UNIX_EPOCH
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(60);
    const NONE: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    #[test]
    fn silence_counts_only_while_somebody_listens() {
        let hearing = Hearing::new(at(0), LEASE);
        let expired = |second| hearing.expired(at(second));
        assert_eq!((expired(0), expired(59), expired(60)), (NONE, NONE, at(60)));
        hearing.failed(at(100));
        assert_eq!((expired(159), expired(160)), (NONE, at(160)));
    }

    #[test]
    fn a_store_that_hangs_is_as_deaf_as_one_that_fails() {
        let hearing = Hearing::new(at(0), LEASE);
        let expired = |second| hearing.expired(at(second));
        // Soon enough.
        hearing.asking(at(100));
        assert_eq!(expired(110), at(110));
        hearing.answered(at(115));
        assert_eq!(expired(115), at(115));
        // While it hangs, and for a lease's time after it.
        hearing.asking(at(200));
        assert_eq!((expired(215), expired(216)), (at(215), NONE));
        hearing.answered(at(300));
        assert_eq!(
            (expired(301), expired(359), expired(360)),
            (NONE, NONE, at(360))
        );
    }

    #[test]
    fn a_clock_that_is_set_back_costs_one_lease_and_not_more() {
        let hearing = Hearing::new(at(10_000), LEASE);
        let expired = |second| hearing.expired(at(second));
        assert_eq!(expired(100), NONE);
        assert_eq!(expired(160), at(160));
    }
}
