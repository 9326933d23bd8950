//! Tells a run's events: a progress bar in a terminal, plain lines elsewhere, or JSON lines.
//!
//! Only consumes events; nothing of a run depends on who listens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use ejecta_core::compare::Verdict;
use ejecta_core::report::text::{Line, Tone};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::event::RunEvent;
use crate::cli::MessageFormat;

/// Where events go.
pub enum Reporter {
    /// A terminal, with a bar at the bottom of it.
    Bar(Box<Bar>),
    /// Plain lines on standard error.
    Lines,
    /// JSON lines on standard output.
    Json,
}

/// A progress bar, with what it says beside the count.
pub struct Bar {
    bar: ProgressBar,
    running: BTreeMap<String, String>,
    rate: Rate,
}

/// Measures how fast jobs end, over this run alone.
struct Rate {
    since: Instant,
    before: u64,
}

impl Rate {
    /// Jobs a minute, and the time left; nothing while too little is known.
    fn told(&self, now: Instant, done: u64, all: u64) -> Option<(f64, Duration)> {
        let ended = done.checked_sub(self.before).filter(|n| *n >= 3)?;
        let spent = now.duration_since(self.since).as_secs_f64();
        let per_second = ended as f64 / spent.max(0.001);
        let left = all.saturating_sub(done) as f64 / per_second;
        Some((per_second * 60.0, Duration::from_secs_f64(left.min(1e9))))
    }
}

impl Reporter {
    /// The one that fits the choice and where standard error goes.
    pub fn new(format: MessageFormat) -> Self {
        if format == MessageFormat::Json {
            return Self::Json;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
        let style = ProgressStyle::with_template("{bar:28.green/dim} {pos}/{len} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸─");
        bar.set_style(style);
        Self::Bar(Box::new(Bar {
            bar,
            running: BTreeMap::new(),
            rate: Rate {
                since: Instant::now(),
                before: 0,
            },
        }))
    }

    /// Tells one event.
    pub fn tell(&mut self, event: &RunEvent) {
        match self {
            Self::Bar(bar) => bar.tell(event),
            Self::Lines => {
                if let Some(line) = line_of(event) {
                    to_stderr(&line);
                }
            }
            Self::Json => to_stdout(&serde_json::to_string(event).unwrap_or_default()),
        }
    }

    /// Ends the telling, and prints the summary for people.
    pub fn summary(&mut self, lines: &[Line], report: &str) {
        if let Self::Bar(bar) = self {
            bar.bar.finish_and_clear();
        }
        if matches!(self, Self::Json) {
            return;
        }
        for line in lines {
            let style = style_of(line.tone);
            to_stdout(&format!("{style}{}{style:#}", line.text));
        }
        to_stdout(&format!("report: {report}"));
    }
}

impl Bar {
    fn tell(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started { jobs, finished, .. } => {
                self.bar.set_length(*jobs);
                self.bar.set_position(*finished);
                self.rate = Rate {
                    since: Instant::now(),
                    before: *finished,
                };
                self.bar.enable_steady_tick(Duration::from_millis(500));
            }
            RunEvent::JobStarted { krate, .. } => {
                self.running.insert(krate.to_string(), String::new());
            }
            RunEvent::JobRunning {
                krate, side, nth, ..
            } => {
                let again = if *nth > 2 { " again" } else { "" };
                self.running
                    .insert(krate.to_string(), format!(" ({side}{again})"));
            }
            RunEvent::JobFinished { krate, done, .. } | RunEvent::JobFailed { krate, done, .. } => {
                self.running.remove(krate.as_str());
                self.bar.set_position(*done);
            }
            RunEvent::Interrupted { .. } | RunEvent::Finished { .. } => {
                self.bar.finish_and_clear();
            }
            RunEvent::Note { .. } => {}
        }
        let quiet = matches!(
            event,
            RunEvent::JobStarted { .. } | RunEvent::JobRunning { .. }
        );
        let boring = matches!(
            event,
            RunEvent::JobFinished {
                verdict: Verdict::TestPass,
                ..
            } | RunEvent::Finished { .. }
        );
        if let Some(line) = line_of(event).filter(|_| !quiet && !boring) {
            self.bar.suspend(|| to_stderr(&line));
        }
        self.bar.set_message(self.message());
    }

    fn message(&self) -> String {
        let mut text = String::new();
        let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
        if let Some((rate, left)) = self.rate.told(Instant::now(), done, all) {
            let _ = write!(text, "· {rate:.0}/min · {} left ", human(left));
        }
        let running: Vec<String> = self
            .running
            .iter()
            .map(|(k, v)| format!("{k}{v}"))
            .collect();
        if !running.is_empty() {
            let _ = write!(text, "· {}", running.join(", "));
        }
        text
    }
}

/// A duration as people say it: `40 s`, `3 min`, `2 h 5 min`.
fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `1 crate`, `2 crates`.
fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// The line for people; none for what only a bar shows.
fn line_of(event: &RunEvent) -> Option<String> {
    let bad = style_of(Tone::Bad);
    let good = style_of(Tone::Good);
    Some(match event {
        RunEvent::Note { message } => format!("note: {message}"),
        RunEvent::Started {
            experiment,
            baseline,
            candidate,
            crates,
            jobs,
            finished,
            ..
        } => {
            let resumed = if *finished > 0 {
                format!(", {finished} finished before")
            } else {
                String::new()
            };
            let (crates, jobs) = (counted(*crates as u64, "crate"), counted(*jobs, "job"));
            format!(
                "{experiment}: {crates}, {jobs}{resumed}\n  baseline   {}: {}\n  candidate  {}: {}",
                baseline[0], baseline[1], candidate[0], candidate[1]
            )
        }
        RunEvent::JobStarted { .. } | RunEvent::JobRunning { .. } => return None,
        RunEvent::JobFinished {
            krate,
            tier,
            verdict,
            done,
            jobs,
        } => {
            let style = match verdict {
                Verdict::Regressed => bad,
                Verdict::TestPass => good,
                _ => Style::new(),
            };
            let width = jobs.to_string().len();
            format!("[{done:>width$}/{jobs}] {style}{verdict}{style:#} {krate} ({tier})")
        }
        RunEvent::JobFailed {
            krate,
            tier,
            error,
            given_up,
            ..
        } => {
            let then = if *given_up {
                "given up"
            } else {
                "it will be tried again"
            };
            format!("{bad}error of ours{bad:#} {krate} ({tier}): failed to {error}; {then}")
        }
        RunEvent::Interrupted { resume } => format!("interrupted; go on with: {resume}"),
        RunEvent::Finished { .. } => return None,
    })
}

fn style_of(tone: Tone) -> Style {
    match tone {
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Bad => AnsiColor::Red.on_default().bold(),
        Tone::Plain => Style::new(),
        Tone::Faint => Style::new().dimmed(),
    }
}

// A reader that went away is no reason to stop an experiment.
fn to_stdout(line: &str) {
    let _ = writeln!(anstream::stdout(), "{line}");
}

fn to_stderr(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_as_people_do() {
        let table = [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "2 min"),
            (7500, "2 h 5 min"),
        ];
        for (seconds, told) in table {
            assert_eq!(human(Duration::from_secs(seconds)), told);
        }
    }

    #[test]
    fn a_rate_needs_a_few_jobs_and_leaves_out_those_of_an_earlier_run() {
        let rate = Rate {
            since: Instant::now(),
            before: 10,
        };
        let later = rate.since + Duration::from_secs(60);
        assert!(rate.told(later, 12, 20).is_none());
        let (per_minute, left) = rate.told(later, 15, 20).expect("enough");
        assert_eq!((per_minute.round() as u32, left.as_secs()), (5, 60));
    }
}
