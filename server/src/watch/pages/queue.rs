//! The first page: what runs, what waits and for how long, what has ended.

use askama::Template;
use ejecta_core::compare::Verdict;
use ejecta_core::lifecycle::State;
use jiff::Timestamp;

use super::super::picture::Picture;
use super::experiment::is_live;
use super::words;
use crate::experiments::Shown;

#[derive(Template)]
#[template(path = "queue.html")]
pub struct Page {
    place: &'static str,
    headline: String,
    lead: String,
    facts: Vec<(&'static str, String)>,
    running: Vec<Row>,
    waiting: Vec<Row>,
    recent: Vec<Row>,
    now: String,
    now_text: String,
}

struct Row {
    place: Option<u32>,
    name: String,
    baseline: String,
    candidate: String,
    selection: String,
    mode: String,
    scope: String,
    priority: i32,
    jobs: String,
    part: Option<String>,
    percent: String,
    lines: Vec<Line>,
}

struct Line {
    bad: bool,
    text: String,
}

impl Page {
    /// The page of the experiments in line, in its order, and of those that have ended, the newest
    /// first.
    pub fn new(line: &[Shown], recent: &[Shown], picture: &Picture) -> Self {
        let now = picture.now;
        let of = |state| {
            let in_state = line.iter().filter(move |shown| shown.filed.state == state);
            in_state.map(|shown| row(shown, now)).collect::<Vec<_>>()
        };
        let (running, waiting) = (of(State::Running), of(State::Queued));
        let alive = picture
            .agents
            .iter()
            .filter(|a| picture.is_alive(a))
            .count();
        let metrics = &picture.metrics;
        Self {
            place: "queue",
            headline: format!("{} running, {} waiting", running.len(), waiting.len()),
            lead: format!(
                "{} with {}, {} waiting",
                words::counted(metrics.leased, "job", "jobs"),
                words::counted(alive as u64, "agent", "agents"),
                words::count(metrics.queued)
            ),
            facts: vec![
                ("results, of all time", words::count(metrics.finished)),
                ("given up, of all time", words::count(metrics.errors)),
                (
                    "silent agents",
                    words::count((picture.agents.len() - alive) as u64),
                ),
            ],
            running,
            waiting,
            recent: recent.iter().map(|shown| row(shown, now)).collect(),
            now: words::stamp(now),
            now_text: words::time(now),
        }
    }
}

fn row(shown: &Shown, now: Timestamp) -> Row {
    let filed = &shown.filed;
    let config = &filed.experiment.config;
    let total = shown.counts.total();
    let ended = shown.counts.finished() + shown.counts.errors();
    Row {
        place: shown.place,
        name: filed.experiment.name.to_string(),
        baseline: config.baseline.to_string(),
        candidate: config.candidate.to_string(),
        selection: filed.experiment.selection.clone(),
        mode: config.mode.to_string(),
        scope: config.scope.to_string(),
        priority: filed.priority,
        jobs: words::count(total),
        part: (filed.state == State::Running).then(|| words::length(ended, total)),
        percent: words::percent(ended, total),
        lines: lines(shown, now),
    }
}

fn lines(shown: &Shown, now: Timestamp) -> Vec<Line> {
    let plain = |text: String| Line { bad: false, text };
    let bad = |text: String| Line { bad: true, text };
    let estimate = shown.estimate;
    let total = shown.counts.total();
    let ended = shown.counts.finished() + shown.counts.errors();
    let mut lines = Vec::new();
    match shown.filed.state {
        State::Running => {
            let left = estimate.ends.map(|ends| words::left(now, ends));
            let left = left.map_or(String::new(), |left| format!(", {left}"));
            lines.push(plain(format!("{}{left}", words::percent(ended, total))));
        }
        State::Queued => lines.push(plain(match (estimate.starts, estimate.ends) {
            (Some(starts), Some(ends)) => format!(
                "starts in {}, ends in {}",
                words::span(now, starts),
                words::span(now, ends)
            ),
            _ => "no rate is measured yet".to_owned(),
        })),
        state => {
            let since = words::time(shown.filed.since);
            lines.push(plain(format!("{state}, {since}")));
        }
    }
    let of = |wanted| {
        let tiers = shown.verdicts.values();
        tiers.filter_map(|tier| tier.get(&wanted)).sum::<u64>()
    };
    let so_far = if is_live(shown.filed.state) {
        " so far"
    } else {
        ""
    };
    if of(Verdict::Regressed) > 0 {
        let regressed = words::count(of(Verdict::Regressed));
        lines.push(bad(format!("{regressed} regressed{so_far}")));
    }
    if shown.counts.errors() > 0 {
        let errors = words::count(shown.counts.errors());
        lines.push(plain(format!("{errors} given up")));
    }
    if let Some(trouble) = shown.trouble() {
        lines.push(bad(trouble.to_owned()));
    }
    lines
}
