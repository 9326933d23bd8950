//! Answers with results: the early verdict, and the whole one.

use std::fmt::Write as _;

use ejecta_core::compare::Verdict;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::report::meaning;

use super::fit::{MAX_COMMENT, Parts, Rank};
use super::markdown::{code, details, fenced, link, short_code};
use super::{Answers, bold, count};
use crate::bot::summary::{Cluster, CrateLine, Summary};

/// Room for the marker in front of the answer.
const MARKER: usize = 256;
/// How many crates of a cluster stand in its headline.
const NAMED: usize = 5;
/// How many clusters are shown with their error.
const LARGE: usize = 10;
/// How many clusters an early verdict shows.
const EARLY: usize = 5;
/// How many crates one foldable list has.
const LIST: usize = 100;

impl Answers {
    /// Scope `lib` is through: the verdict that matters most, early.
    pub fn early(&self, name: &ExperimentName, summary: &Summary) -> String {
        let mut parts = Parts::default();
        parts.add(
            Rank::Must,
            format!(
                ":hatching_chick: Experiment {}, early verdict over the libraries and binaries of all crates: {}. {}\n\nTests, examples and benches follow.",
                bold(name),
                headline(summary),
                figures(summary),
            ),
        );
        self.body(&mut parts, summary, EARLY);
        self.put_together(parts, summary)
    }

    /// What becomes of the early verdict when the whole one is there.
    pub fn early_superseded(&self, name: &ExperimentName) -> String {
        format!(
            ":hatched_chick: The early verdict over experiment {} is superseded by the whole one below.",
            bold(name)
        )
    }

    /// All is done.
    pub fn completed(&self, name: &ExperimentName, summary: &Summary) -> String {
        let mut parts = Parts::default();
        let sign = if summary.total(Verdict::Regressed) == 0 && summary.incomplete.is_none() {
            "tada"
        } else {
            "bar_chart"
        };
        parts.add(
            Rank::Must,
            format!(
                ":{sign}: Experiment {} is completed: {}. {}",
                bold(name),
                headline(summary),
                figures(summary),
            ),
        );
        if let Some(report) = &summary.report {
            let retry = link(
                "crates to retry",
                &format!("{report}retry-regressed-list.txt"),
            );
            parts.add(
                Rank::Must,
                format!(
                    ":newspaper: {} · {} · {retry}",
                    link("Open the report", report),
                    link("results.json", &format!("{report}results.json")),
                ),
            );
        }
        self.body(&mut parts, summary, usize::MAX);
        parts.add(Rank::Detail, counts(summary));
        parts.add(
            Rank::Trivia,
            lists(
                "Spurious or flaky",
                &summary.doubtful,
                summary.doubtful.len(),
            )
            .unwrap_or_default(),
        );
        if summary.total(Verdict::Regressed) > 0 {
            parts.add(
                Rank::Trivia,
                format!(
                    "{} runs the crates that regressed or were spurious again.",
                    code(&format!("@{} retry name={name}", self.name))
                ),
            );
        }
        self.put_together(parts, summary)
    }

    fn body(&self, parts: &mut Parts, summary: &Summary, most: usize) {
        if let Some(text) = &summary.incomplete {
            parts.add(
                Rank::Must,
                format!(":warning: This experiment is {}.", short_code(text)),
            );
        }
        for (at, of) in summary.clusters.iter().take(most).enumerate() {
            cluster(parts, of, at < LARGE);
        }
        let shown = summary.clusters.len().min(most);
        let more = summary.clusters.len() - shown + summary.more_clusters;
        if more > 0 {
            let more = count(more, "more root cause", "more root causes");
            parts.add(Rank::Main, format!("And {more}."));
        }
    }

    fn put_together(&self, parts: Parts, summary: &Summary) -> String {
        let left_out = match &summary.report {
            Some(report) => format!(
                ":scissors: Not everything fits into a comment; the rest is in {}.",
                link("the report", report)
            ),
            None => ":scissors: Not everything fits into a comment.".to_owned(),
        };
        parts.fit(MAX_COMMENT - MARKER, &left_out)
    }
}

/// `**2 crates regressed**, by 1 root cause`.
fn headline(summary: &Summary) -> String {
    let regressed = summary.total(Verdict::Regressed);
    if regressed == 0 {
        return "**no crate regressed**".to_owned();
    }
    let causes = summary.clusters.len() + summary.more_clusters;
    format!(
        "**{} regressed**, by {}",
        count(regressed, "crate", "crates"),
        count(causes, "root cause", "root causes")
    )
}

/// Coverage, and the figures that a reader asks for next.
fn figures(summary: &Summary) -> String {
    let mut text = summary.coverage.clone();
    for (verdict, what) in [
        (Verdict::Fixed, "fixed"),
        (Verdict::SpuriousRegressed, "spurious"),
        (Verdict::Flaky, "flaky"),
        (Verdict::Error, "lost to errors of ours"),
    ] {
        let n = summary.total(verdict);
        if n > 0 {
            let _ = write!(text, ", {n} {what}");
        }
    }
    text.push('.');
    text
}

fn counts(summary: &Summary) -> String {
    let mut table = "| verdict | crates | |\n| --- | ---: | --- |\n".to_owned();
    for verdict in Verdict::ALL {
        let n = summary.total(verdict);
        if n > 0 {
            let _ = writeln!(table, "| {verdict} | {n} | {} |", meaning(verdict));
        }
    }
    details("All counts", table.trim_end())
}

fn cluster(parts: &mut Parts, cluster: &Cluster, large: bool) {
    let (head, error, list) = if large {
        (Rank::Main, Rank::Side, Rank::Detail)
    } else {
        (Rank::Side, Rank::Trivia, Rank::Trivia)
    };
    let named: Vec<String> = cluster.listed.iter().take(NAMED).map(crate_name).collect();
    let mut text = format!(
        "### {}: {}\n\nIn {}",
        count(cluster.crates, "crate", "crates"),
        short_code(&cluster.title),
        short_code(&cluster.root),
    );
    if let Some(dependents) = cluster.dependents {
        let _ = write!(text, ", {}", count(dependents, "dependent", "dependents"));
    }
    let _ = write!(text, ": {}", named.join(", "));
    let more = cluster.crates - named.len().min(cluster.crates);
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    parts.add(head, text);
    if let Some(rendered) = &cluster.error {
        parts.add(error, details("The error", &fenced(rendered)));
    }
    if cluster.listed.len() > NAMED {
        let all = lists("Its crates", &cluster.listed, cluster.crates);
        parts.add(list, all.unwrap_or_default());
    }
}

fn crate_name(krate: &CrateLine) -> String {
    match &krate.log {
        Some(log) => format!("{} ({})", short_code(&krate.name), link("log", log)),
        None => short_code(&krate.name),
    }
}

/// A foldable list of crates; none where there are none.
fn lists(summary: &str, crates: &[CrateLine], all: usize) -> Option<String> {
    if crates.is_empty() {
        return None;
    }
    let mut list = String::new();
    for krate in crates.iter().take(LIST) {
        let _ = writeln!(list, "- {}: {}", crate_name(krate), short_code(&krate.what));
    }
    let more = all.saturating_sub(crates.len().min(LIST));
    if more > 0 {
        let _ = writeln!(list, "- and {more} more");
    }
    Some(details(&format!("{summary} ({all})"), list.trim_end()))
}
