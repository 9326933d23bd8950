//! Prometheus' text format, version 0.0.4: families, samples, and what has to be escaped in them.
//!
//! The format is a page long, and this is all of it that is needed here. It knows nothing of what is
//! measured.

use std::fmt::Write as _;
use std::time::Duration;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows, until the process starts anew.
    Counter,
    /// How many were below which bound.
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// The text, family by family.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// Begins a family; its samples follow.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = kind.name();
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            text: &mut self.0,
            name,
        }
    }

    /// A family of one sample without labels.
    pub fn one(&mut self, name: &'static str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// All of it.
    pub fn finish(self) -> String {
        self.0
    }
}

/// The samples of one family.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Family<'_> {
    /// One sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, None, value);
    }

    /// The samples of one histogram.
    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut below = 0;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            below += count;
            self.line("_bucket", labels, Some(bound), float(below));
        }
        let all = histogram.count();
        self.line("_bucket", labels, Some("+Inf"), float(all));
        self.line("_sum", labels, None, histogram.sum.as_secs_f64());
        self.line("_count", labels, None, float(all));
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: f64) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let labels = labels
            .iter()
            .copied()
            .chain(bound.map(|bound| ("le", bound)));
        let mut before = '{';
        for (label, value) in labels {
            let value = escaped(value);
            let _ = write!(self.text, "{before}{label}=\"{value}\"");
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// A count as the format has it: exact up to 2^53.
pub fn float(count: u64) -> f64 {
    count as f64
}

/// How long things took: how many took at most how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// Upper bounds in seconds, growing.
    bounds: &'static [&'static str],
    /// How many are in the bucket of each bound, and above all of them.
    counts: Vec<u64>,
    sum: Duration,
}

/// Bounds for calls, in seconds: a millisecond to half a minute.
pub const CALLS: &[&str] = &[
    "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5",
    "10", "30",
];
/// Bounds for jobs and their waiting, in seconds: a second to a month.
pub const JOBS: &[&str] = &[
    "1", "3", "10", "30", "60", "120", "300", "600", "1800", "3600", "14400", "43200", "86400",
    "259200", "604800", "2592000",
];

impl Histogram {
    /// An empty one, with these upper bounds in seconds.
    pub fn new(bounds: &'static [&'static str]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: Duration::ZERO,
        }
    }

    /// Counts something that took so long.
    pub fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self
            .bounds
            .iter()
            .position(|bound| bound.parse::<f64>().is_ok_and(|bound| seconds <= bound));
        self.counts[bucket.unwrap_or(self.bounds.len())] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_the_format_wants() {
        let mut text = Exposition::default();
        let mut jobs = text.family("jobs", Kind::Gauge, "Jobs, by \\ state\nand more.");
        jobs.sample(&[("state", "a\"b\\c\nd"), ("x", "y")], 2.0);
        jobs.sample(&[], 0.5);
        let mut took = Histogram::new(&["0.1", "1"]);
        for millis in [50, 100, 101, 5000] {
            took.observe(Duration::from_millis(millis));
        }
        text.family("took", Kind::Histogram, "Time.")
            .histogram(&[("verb", "claim")], &took);
        assert_eq!(
            text.finish(),
            r#"# HELP jobs Jobs, by \\ state\nand more.
# TYPE jobs gauge
jobs{state="a\"b\\c\nd",x="y"} 2
jobs 0.5
# HELP took Time.
# TYPE took histogram
took_bucket{verb="claim",le="0.1"} 2
took_bucket{verb="claim",le="1"} 3
took_bucket{verb="claim",le="+Inf"} 4
took_sum{verb="claim"} 5.251
took_count{verb="claim"} 4
"#
        );
    }

    #[test]
    fn bounds_are_numbers_that_grow() {
        for bounds in [CALLS, JOBS] {
            let numbers: Vec<f64> = bounds
                .iter()
                .map(|b| b.parse().expect("a number"))
                .collect();
            assert!(
                numbers.windows(2).all(|pair| pair[0] < pair[1]),
                "{bounds:?}"
            );
        }
    }
}
