//! What is measured, and what is said of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;

/// Times of one kind of request, in microseconds.
#[derive(Default)]
pub struct Times(Vec<u32>);

impl Times {
    pub fn add(&mut self, took: Duration) {
        self.0
            .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// How many there are, and their middle, their hundredth from above and their largest, in
    /// milliseconds.
    pub fn summary(mut self) -> Value {
        self.0.sort_unstable();
        let at = |part: f64| {
            let last = self.0.len().saturating_sub(1);
            // Far below what a float counts exactly.
            let place = (last as f64 * part) as usize;
            f64::from(self.0.get(place).copied().unwrap_or(0)) / 1000.0
        };
        json!({"count": self.0.len(), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0)})
    }
}

/// What a process has used: the most memory that it ever had in MiB, and processor time in seconds.
pub fn usage(pid: u32) -> Result<(u64, f64)> {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().next());
    let kib: u64 = kib.ok_or("no VmHWM")?.parse()?;
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may have blanks, in parentheses: the 12th and 13th field.
    let fields = stat.rsplit_once(") ").ok_or("no name")?.1;
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse().unwrap_or(0))
        .sum::<u64>();
    // Linux has said 100 on all machines for decades.
    Ok((kib / 1024, ticks as f64 / 100.0))
}

/// With one digit behind the point.
pub fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
