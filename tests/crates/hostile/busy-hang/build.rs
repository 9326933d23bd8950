//! Computes for ten seconds.

use std::time::{Duration, Instant};

fn main() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {}
}
