//! Draws from a seed, so that moments and victims are the same again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The variable that repeats a run's draws.
pub const VARIABLE: &str = "EJECTA_FAULT_SEED";

/// A sequence of draws.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Those of a test: other ones for each name, the same ones for the same seed, which is said.
    #[expect(clippy::print_stdout, reason = "a failure is to be repeated")]
    pub fn of_test(name: &str) -> Self {
        let seed = match std::env::var(VARIABLE) {
            Ok(text) => text.parse().expect("a seed is a number"),
            Err(_) => by_chance(),
        };
        println!("{VARIABLE}={seed}   # repeats the draws of `{name}`");
        // FNV-1a: any mixture does.
        let mixed = name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, b| {
            (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(mixed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `from` to below `to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from)
    }

    /// A time from `from` to below `to`, in milliseconds.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.between(from, to))
    }

    /// One of them.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let at = self.between(0, all.len() as u64);
        all[usize::try_from(at).expect("few")]
    }
}

fn by_chance() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::from(now.map_or(0, |time| time.subsec_nanos()))
}
