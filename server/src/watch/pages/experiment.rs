//! The page of one experiment: how far it is, how fast, what came of it so far, and what failed
//! through a fault of ours.

use std::collections::BTreeMap;

use askama::Template;
use ejecta_core::compare::Verdict;
use ejecta_core::estimate;
use ejecta_core::lifecycle::State;
use jiff::Timestamp;
use serde::Serialize;

use super::words;
use crate::experiments::Shown;
use crate::store::Failure;

/// How many failures of ours are listed.
pub const MAX_FAILURES: u32 = 50;

/// What changes while a page is open: the page has it, and so has each `progress` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Look {
    /// By the name of the place where it stands.
    pub texts: BTreeMap<&'static str, String>,
    /// The parts of the bar, from left to right.
    pub bar: Vec<Part>,
    /// The bar, in words.
    pub bar_text: String,
    /// Jobs by tier: waiting, with agents, with a result, given up.
    pub tiers: Vec<(String, [String; 4])>,
}

/// A part of the bar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What colours it.
    pub class: &'static str,
    /// What it means.
    pub label: &'static str,
    /// How many jobs.
    pub count: String,
    /// Where it begins, in thousandths of the whole.
    pub x: String,
    /// How long it is, in thousandths of the whole.
    pub width: String,
}

/// Whether anything will still change.
pub fn is_live(state: State) -> bool {
    match state {
        State::Queued | State::Running | State::NeedsReport | State::GeneratingReport => true,
        State::Completed | State::Aborted | State::Failed => false,
    }
}

impl Look {
    /// How an experiment looks.
    pub fn of(shown: &Shown, now: Timestamp) -> Self {
        let counts = &shown.counts;
        let total = counts.total();
        let ended = counts.finished() + counts.errors();
        let verdicts = merged(shown);
        let (bar, bar_text) = bar(&verdicts, total, ended);
        let rate = shown
            .filed
            .started
            .filter(|_| shown.filed.state == State::Running)
            .and_then(|started| estimate::rate(ended, started, now));
        let regressed = verdicts.get(&Verdict::Regressed).copied().unwrap_or(0);
        let left = shown.estimate.ends.map(|ends| words::left(now, ends));
        let mut lead = format!(
            "{} of {} done; {} regressed",
            words::count(ended),
            words::counted(total, "job", "jobs"),
            words::count(regressed)
        );
        if is_live(shown.filed.state) {
            lead.push_str(" so far");
        }
        if let Some(left) = &left {
            lead.push_str(&format!("; {left}"));
        }
        let texts = BTreeMap::from([
            ("headline", headline(shown)),
            ("lead", lead),
            ("done", words::percent(ended, total)),
            ("rate", rate.map_or("not measured yet".to_owned(), per_hour)),
            (
                "ends",
                shown
                    .estimate
                    .ends
                    .map_or("unknown".to_owned(), words::time),
            ),
        ]);
        let tiers = counts.tiers.iter().map(|tier| {
            let counts = [tier.queued, tier.leased, tier.finished, tier.errors];
            (tier.tier.to_string(), counts.map(words::count))
        });
        Self {
            texts,
            bar,
            bar_text,
            tiers: tiers.collect(),
        }
    }

    fn text(&self, name: &str) -> String {
        self.texts.get(name).cloned().unwrap_or_default()
    }
}

fn per_hour(rate: f64) -> String {
    let hourly = rate * 3600.0;
    if hourly < 10.0 {
        format!("{hourly:.1} jobs an hour")
    } else {
        format!("{hourly:.0} jobs an hour")
    }
}

/// Jobs by verdict, over all tiers.
fn merged(shown: &Shown) -> BTreeMap<Verdict, u64> {
    let mut all = BTreeMap::new();
    for (verdict, jobs) in shown.verdicts.values().flatten() {
        *all.entry(*verdict).or_insert(0) += jobs;
    }
    all
}

fn bar(verdicts: &BTreeMap<Verdict, u64>, total: u64, ended: u64) -> (Vec<Part>, String) {
    let mut parts = Vec::new();
    let mut before = 0;
    let known = Verdict::ALL
        .into_iter()
        .filter(|verdict| *verdict != Verdict::Unknown)
        .map(|verdict| (verdict.name(), verdict.name(), verdicts.get(&verdict)));
    let open = total.saturating_sub(ended);
    let open = ("unknown", "not done yet", (open > 0).then_some(&open));
    let mut texts = Vec::new();
    for (class, label, jobs) in known.chain([open]) {
        let Some(&jobs) = jobs else { continue };
        parts.push(Part {
            class,
            label,
            count: words::count(jobs),
            x: words::length(before, total),
            width: words::length(jobs, total),
        });
        texts.push(format!("{} {label}", words::count(jobs)));
        before += jobs;
    }
    (parts, texts.join(", "))
}

fn headline(shown: &Shown) -> String {
    match (shown.filed.state, shown.place) {
        (State::Queued, Some(1)) => "Waiting, the next to start".to_owned(),
        (State::Queued, Some(place)) => format!("Waiting, at place {place}"),
        (State::Queued, None) => "Waiting".to_owned(),
        (State::Running, _) => "Running".to_owned(),
        (State::NeedsReport, _) => "Waiting for its report".to_owned(),
        (State::GeneratingReport, _) => "Its report is being written".to_owned(),
        (State::Completed, _) => "Completed".to_owned(),
        (State::Aborted, _) => "Aborted".to_owned(),
        (State::Failed, _) => "Failed".to_owned(),
    }
}

#[derive(Template)]
#[template(path = "experiment.html")]
pub struct Page {
    place: &'static str,
    name: String,
    live: bool,
    headline: String,
    tone: &'static str,
    lead: String,
    problem: Option<String>,
    report: Option<Report>,
    /// Whether there are pages of what is known so far.
    so_far: bool,
    bar: Vec<Part>,
    bar_text: String,
    baseline: String,
    candidate: String,
    facts: Vec<Fact>,
    tiers: Vec<(String, [String; 4])>,
    failures: Vec<Row>,
    failures_left_out: u64,
    now: String,
    now_text: String,
}

struct Report {
    link: bool,
    text: String,
}

struct Fact {
    name: &'static str,
    value: String,
    live: &'static str,
}

struct Row {
    krate: String,
    tier: String,
    attempts: u32,
    agent: String,
    message: String,
}

impl Page {
    /// The page; `failures` are the first of those that the counts say there are.
    pub fn new(shown: &Shown, failures: Vec<Failure>, now: Timestamp) -> Self {
        let look = Look::of(shown, now);
        let filed = &shown.filed;
        let config = &filed.experiment.config;
        let listed = failures.len() as u64;
        Self {
            place: "experiment",
            name: filed.experiment.name.to_string(),
            live: is_live(filed.state),
            headline: look.text("headline"),
            tone: match filed.state {
                State::Failed | State::Aborted => "bad",
                _ => "",
            },
            lead: look.text("lead"),
            problem: shown.trouble().map(str::to_owned),
            report: shown.report.clone().map(|text| Report {
                link: ["https://", "http://", "/"]
                    .iter()
                    .any(|s| text.starts_with(s)),
                text,
            }),
            so_far: filed.state != State::Completed && shown.counts.finished() > 0,
            baseline: config.baseline.to_string(),
            candidate: config.candidate.to_string(),
            facts: facts(shown, &look),
            failures: failures.into_iter().map(row).collect(),
            failures_left_out: shown.counts.errors().saturating_sub(listed),
            now: words::stamp(now),
            now_text: words::time(now),
            bar: look.bar,
            bar_text: look.bar_text,
            tiers: look.tiers,
        }
    }

    /// The same where there are reports of experiments that run, or are none.
    #[must_use]
    pub fn with_live_report(mut self, there_are: bool) -> Self {
        self.so_far &= there_are;
        self
    }
}

fn facts(shown: &Shown, look: &Look) -> Vec<Fact> {
    let filed = &shown.filed;
    let config = &filed.experiment.config;
    let mut facts = Vec::new();
    let mut live = |name, at: &'static str| {
        facts.push(Fact {
            name,
            value: look.text(at),
            live: at,
        });
    };
    live("done", "done");
    if filed.state == State::Running {
        live("rate", "rate");
    }
    if is_live(filed.state) {
        live("ends, probably", "ends");
    }
    let mut fact = |name, value| {
        facts.push(Fact {
            name,
            value,
            live: "",
        });
    };
    if let Some(starts) = shown.estimate.starts {
        fact("starts, probably", words::time(starts));
    }
    fact("crates", filed.experiment.selection.clone());
    fact("mode", config.mode.to_string());
    fact("scope", config.scope.to_string());
    fact("priority", filed.priority.to_string());
    if !filed.requirements.is_empty() {
        let asked = filed.requirements.iter();
        let asked: Vec<String> = asked
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        fact("asks of agents", asked.join(", "));
    }
    if let Some(parent) = &filed.parent {
        fact("tries again", parent.name.to_string());
    }
    fact("created", words::time(filed.experiment.created));
    if let Some(started) = filed.started {
        fact("started", words::time(started));
    }
    facts
}

fn row(failure: Failure) -> Row {
    Row {
        krate: failure.job.krate.to_string(),
        tier: failure.job.tier.to_string(),
        attempts: failure.attempts,
        agent: failure.agent,
        message: failure.message,
    }
}
