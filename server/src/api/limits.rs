//! How much is taken in: requests at once, requests of one token, failed tries of one address.
//!
//! Buckets hold a number of requests and fill up again at a rate; an empty one answers 429. What is
//! counted and when is decided at the entrance; this module counts, at times that are passed in.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// The most buckets that are kept of a kind.
const BUCKETS: usize = 10_000;

/// The limits of an API.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Requests at once, all callers together; more are answered 503.
    pub at_once: usize,
    /// Requests a second of one token, on the long run.
    pub per_second: f64,
    /// Requests of one token at one moment, after a while of silence.
    pub burst: f64,
    /// How long a request may take, in seconds; then it is answered 503, and what it has begun goes
    /// on.
    pub seconds: u64,
}

impl Default for Limits {
    /// For an agent with hundreds of jobs, several times over.
    fn default() -> Self {
        Self {
            at_once: 512,
            per_second: 200.0,
            burst: 1000.0,
            seconds: 900,
        }
    }
}

/// Requests without a good token that one address may send at one moment, and a second.
const FAILURES: (f64, f64) = (30.0, 1.0);

/// Counts requests.
#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    tokens: Buckets<String>,
    failures: Buckets<Option<IpAddr>>,
}

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            tokens: Buckets::default(),
            failures: Buckets::default(),
        }
    }

    /// Whether a request of this token is one too many.
    pub(super) fn token_is_over(&self, id: &str, now: Timestamp) -> bool {
        let limits = (self.limits.burst, self.limits.per_second);
        !self.tokens.take(&id.to_owned(), limits, now)
    }

    /// Whether a request of this address without a good token is one too many.
    pub(super) fn failure_is_over(&self, address: Option<IpAddr>, now: Timestamp) -> bool {
        !self.failures.take(&address, FAILURES, now)
    }
}

#[derive(Debug)]
struct Buckets<K>(Mutex<HashMap<K, (f64, Timestamp)>>);

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// Takes one out of the bucket of `key`; `false` if there is none in it.
    fn take(&self, key: &K, (burst, per_second): (f64, f64), now: Timestamp) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS && !buckets.contains_key(key) {
            // What is full again says nothing; if all say something, the flood is the danger.
            buckets.retain(|_, (left, at)| filled(*left, *at, burst, per_second, now) < burst);
            if buckets.len() >= BUCKETS {
                buckets.clear();
            }
        }
        let (left, at) = buckets.entry(key.clone()).or_insert((burst, now));
        *left = filled(*left, *at, burst, per_second, now);
        *at = now;
        if *left < 1.0 {
            return false;
        }
        *left -= 1.0;
        true
    }
}

fn filled(left: f64, at: Timestamp, burst: f64, per_second: f64, now: Timestamp) -> f64 {
    let seconds = now.duration_since(at).as_secs_f64().max(0.0);
    (left + seconds * per_second).min(burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millis).expect("in range")
    }

    fn meter() -> Meter {
        Meter::new(Limits {
            per_second: 2.0,
            burst: 3.0,
            ..Limits::default()
        })
    }

    #[test]
    fn a_token_has_a_burst_and_then_its_rate() {
        let meter = meter();
        let over = |millis| meter.token_is_over("a", at(millis));
        assert_eq!(
            [over(0), over(0), over(0), over(0)],
            [false, false, false, true]
        );
        assert!(over(400));
        assert!(!over(500), "half a second is one request");
        assert!(over(501));
        assert!(!meter.token_is_over("b", at(501)), "another token's");
        assert_eq!(
            [over(99_000), over(99_000), over(99_000), over(99_000)],
            [false, false, false, true],
            "never more than the burst"
        );
    }

    #[test]
    fn a_clock_that_jumps_back_gives_and_takes_nothing() {
        let meter = meter();
        let over = |millis| meter.token_is_over("a", at(millis));
        assert!(!over(10_000) && !over(0) && !over(0) && over(0));
    }

    #[test]
    fn a_flood_of_addresses_costs_a_bounded_memory() {
        let meter = meter();
        for n in 0..(2 * BUCKETS as u32) {
            let address = IpAddr::from(n.to_be_bytes());
            assert!(!meter.failure_is_over(Some(address), at(0)));
        }
        let kept = meter.failures.0.lock().expect("whole").len();
        assert!(kept <= BUCKETS, "{kept}");
    }
}
