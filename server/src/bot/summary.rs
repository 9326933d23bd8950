//! What an answer says of results: figures, and the largest root causes with their crates.
//!
//! Drawn from the report's model, so that the thread and the page never disagree. Text is as the
//! results have it; escaping is the renderer's business.

use std::collections::{BTreeMap, HashMap};

use ejecta_core::compare::Verdict;
use ejecta_core::outcome::Side;
use ejecta_core::report::model::{CrateResult, Results};
use ejecta_core::report::{coverage, first_error, incomplete, link, one_line};

/// How many root causes a summary holds.
const MAX_CLUSTERS: usize = 200;
/// How many crates each of them holds, and each other list.
const MAX_CRATES: usize = 500;
/// The longest text kept of an error as the compiler rendered it, in bytes.
const MAX_ERROR_BYTES: usize = 4000;

/// Results in short.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Crates by verdict; those without crates may be absent.
    pub totals: BTreeMap<Verdict, u32>,
    /// `97.5 % of 40 crates compared`.
    pub coverage: String,
    /// What is missing, if anything is.
    pub incomplete: Option<String>,
    /// Root causes of regressions, the one with the most crates first.
    pub clusters: Vec<Cluster>,
    /// Root causes beyond those.
    pub more_clusters: usize,
    /// Crates that regressed spuriously or were flaky, with what happened to them.
    pub doubtful: Vec<CrateLine>,
    /// Where the report is, with a slash at the end; none while there is none.
    pub report: Option<String>,
}

/// One root cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The error in one line.
    pub title: String,
    /// The package that fails, `name version`.
    pub root: String,
    /// How many crates regressed for it.
    pub crates: usize,
    /// The first of them.
    pub listed: Vec<CrateLine>,
    /// How many crates depend on them, where somebody counted.
    pub dependents: Option<u64>,
    /// The error as the compiler rendered it.
    pub error: Option<String>,
}

/// One crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrateLine {
    /// `name version`.
    pub name: String,
    /// What there is to say of it, in one line.
    pub what: String,
    /// The address of the log that shows it.
    pub log: Option<String>,
}

impl Summary {
    /// Crates with `verdict`.
    pub fn total(&self, verdict: Verdict) -> u32 {
        self.totals.get(&verdict).copied().unwrap_or(0)
    }

    /// Draws the summary of `results`, whose report is at `report`, if it is published.
    pub fn of(results: &Results, report: Option<&str>) -> Self {
        let report = report.map(|url| format!("{}/", url.trim_end_matches('/')));
        let line = |krate| crate_line(krate, report.as_deref());
        let crates: HashMap<_, _> = results.crates.iter().map(|c| (&c.id, c)).collect();
        let clusters = results.clusters.iter().take(MAX_CLUSTERS).map(|cluster| {
            let of_cluster = || {
                cluster
                    .crates
                    .iter()
                    .filter_map(|id| crates.get(id).copied())
            };
            let title = match &cluster.code {
                Some(code) => format!("error[{code}]: {}", cluster.signature),
                None => cluster.signature.clone(),
            };
            Cluster {
                title: one_line(&title),
                root: one_line(&cluster.root_text()),
                crates: cluster.crates.len(),
                listed: of_cluster().take(MAX_CRATES).map(line).collect(),
                dependents: cluster.dependents,
                error: cluster.rendered.as_deref().map(bounded),
            }
        });
        let doubtful = [Verdict::SpuriousRegressed, Verdict::Flaky];
        let doubtful = doubtful.iter().flat_map(|v| results.with_verdict(*v));
        Self {
            totals: results.totals.clone(),
            coverage: coverage(results),
            incomplete: incomplete(results),
            clusters: clusters.collect(),
            more_clusters: results.clusters.len().saturating_sub(MAX_CLUSTERS),
            doubtful: doubtful.take(MAX_CRATES).map(line).collect(),
            report,
        }
    }
}

fn crate_line(krate: &CrateResult, report: Option<&str>) -> CrateLine {
    let log = |side| krate.side(side).and_then(|s| s.log.as_deref());
    let log = log(Side::Candidate).or_else(|| log(Side::Baseline));
    CrateLine {
        name: format!("{} {}", krate.name, krate.version),
        what: one_line(&first_error(krate)),
        log: report
            .zip(log)
            .map(|(report, log)| format!("{report}{}", link(log))),
    }
}

fn bounded(text: &str) -> String {
    let text = ejecta_core::log::clean(text);
    if text.len() <= MAX_ERROR_BYTES {
        return text;
    }
    let end = text.floor_char_boundary(MAX_ERROR_BYTES);
    format!("{}\n[...]", &text[..end])
}
