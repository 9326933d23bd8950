//! `index.html`: the whole answer on one page that stays small.

use askama::Template;
use jiff::Timestamp;

use super::super::model::{ClusterResult, ExperimentInfo, Toolchain};
use super::super::overall::{DURATIONS, Overall};
use super::{Fact, Frame, Site, fact, list_path, rendered};
use crate::cluster::CauseKind;
use crate::compare::Verdict;
use crate::experiment::Compare;
use crate::outcome::Side;
use crate::report::words;

/// Root causes on the overview.
const MAX_CLUSTERS: usize = 100;
/// Crates on it that could not be compared.
const MAX_NOT_COVERED: usize = 20;
/// The longest signature or reason on it, in characters.
const MAX_CHARS: usize = 240;

/// Renders the page.
pub fn render(site: &Site<'_>) -> String {
    rendered(&Page::new(site))
}

#[derive(Template)]
#[template(path = "site/overview.html")]
struct Page {
    frame: Frame,
    headline: String,
    tone: &'static str,
    coverage: String,
    not_covered_count: u64,
    not_covered_text: String,
    not_covered: Vec<Fact>,
    not_covered_left_out: u64,
    bar: Vec<Part>,
    bar_text: String,
    regressed_meaning: &'static str,
    nothing_regressed: &'static str,
    clusters: Vec<ClusterRow>,
    clusters_left_out: usize,
    toolchains: Vec<ToolchainView>,
    not_run: Vec<Fact>,
    costs: Vec<Fact>,
    durations: Vec<Bar>,
    traffic: Vec<Fact>,
    facts: Vec<Fact>,
    command: String,
}

struct Part {
    verdict: Verdict,
    meaning: &'static str,
    href: String,
    count: String,
    x: String,
    width: String,
}

struct ToolchainView {
    side: Side,
    spec: String,
    version: String,
    flags: Vec<Fact>,
    verbose: String,
}

struct Bar {
    label: String,
    count: String,
    width: String,
}

/// A root cause in a table.
pub(super) struct ClusterRow {
    pub(super) crates: usize,
    pub(super) width: String,
    pub(super) href: String,
    pub(super) code: Option<String>,
    pub(super) signature: String,
    pub(super) root: String,
    pub(super) place: Option<String>,
    pub(super) seen: Option<String>,
    pub(super) dependents: String,
    pub(super) downloads: String,
}

impl Page {
    fn new(site: &Site<'_>) -> Self {
        let overall = site.overall;
        let bar = bar(overall);
        let regressed = overall.total(Verdict::Regressed);
        let headline = format!("{} regressed", words::grouped(regressed.into()));
        let complete = site.experiment.complete;
        let not_covered = overall.crates - overall.covered;
        let shown = site.not_covered.iter().take(MAX_NOT_COVERED);
        let shown: Vec<Fact> = shown
            .map(|n| (n.id.to_string(), shortened(&n.why)))
            .collect();
        Self {
            frame: site.frame("", "overview", &headline),
            tone: match (regressed > 0, complete) {
                (true, _) => "bad",
                (false, true) => "good",
                (false, false) => "",
            },
            headline,
            coverage: words::coverage_of(overall),
            not_covered_count: if shown.is_empty() { 0 } else { not_covered },
            not_covered_text: words::count_of(not_covered, "crate", "crates"),
            not_covered_left_out: not_covered.saturating_sub(shown.len() as u64),
            not_covered: shown,
            bar_text: bar
                .iter()
                .map(|p| format!("{} {}", p.count, p.verdict))
                .collect::<Vec<_>>()
                .join(", "),
            bar,
            regressed_meaning: words::meaning(Verdict::Regressed),
            nothing_regressed: if complete {
                "No crate regressed."
            } else {
                "No crate that was compared so far regressed."
            },
            clusters: cluster_rows(site, site.clusters.iter().take(MAX_CLUSTERS)),
            clusters_left_out: site.clusters.len().saturating_sub(MAX_CLUSTERS),
            toolchains: vec![
                toolchain(Side::Baseline, &site.experiment.baseline),
                toolchain(Side::Candidate, &site.experiment.candidate),
            ],
            not_run: not_run(overall),
            costs: costs(overall),
            durations: durations(overall),
            traffic: traffic(site),
            facts: facts(site.experiment),
            command: words::command(site.experiment),
        }
    }
}

/// Rows for root causes, with bars in proportion to the largest of all.
pub(super) fn cluster_rows<'a>(
    site: &Site<'_>,
    clusters: impl Iterator<Item = &'a ClusterResult>,
) -> Vec<ClusterRow> {
    let size = |c: &ClusterResult| c.crates.len() + c.also.len();
    let largest = site.clusters.iter().map(size).max().unwrap_or(1).max(1);
    clusters
        .map(|cluster| ClusterRow {
            crates: size(cluster),
            width: format!("{:.2}", size(cluster) as f64 / largest as f64 * 100.0),
            href: words::link(&super::cluster_path(&cluster.id)),
            code: cluster.code.clone(),
            signature: shortened(&cluster.signature),
            root: cluster.root_text(),
            place: cluster
                .place
                .clone()
                .filter(|_| cluster.kind != CauseKind::Test),
            seen: site.seen(&cluster.id),
            dependents: cluster.dependents.map_or(String::new(), words::grouped),
            downloads: cluster.downloads.map_or(String::new(), words::grouped),
        })
        .collect()
}

/// Text on one line, cut where it is very long.
pub(super) fn shortened(text: &str) -> String {
    let line = words::one_line(text);
    match line.char_indices().nth(MAX_CHARS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

fn bar(overall: &Overall) -> Vec<Part> {
    let all = overall.crates.max(1) as f64;
    let mut x = 0.0;
    let mut parts = Vec::new();
    for verdict in Verdict::ALL {
        let count = overall.total(verdict);
        if count > 0 {
            let width = f64::from(count) / all * 1000.0;
            parts.push(Part {
                verdict,
                meaning: words::meaning(verdict),
                href: list_path(verdict.name(), 1),
                count: words::grouped(count.into()),
                x: format!("{x:.2}"),
                width: format!("{width:.2}"),
            });
            x += width;
        }
    }
    parts
}

fn toolchain(side: Side, toolchain: &Toolchain) -> ToolchainView {
    let spec = &toolchain.spec;
    let verbose = [&toolchain.rustc, &toolchain.cargo];
    let listed =
        |name: &str, flags: &[String]| (!flags.is_empty()).then(|| fact(name, flags.join(" ")));
    let mut flags: Vec<Fact> = Vec::new();
    flags.extend(spec.target.as_ref().map(|t| fact("target", t.clone())));
    flags.extend(listed("rustflags", &spec.rustflags));
    flags.extend(listed("rustdocflags", &spec.rustdocflags));
    flags.extend(listed("cargoflags", &spec.cargoflags));
    if !spec.patches.is_empty() {
        flags.push(fact("patches", spec.patches.len().to_string()));
    }
    ToolchainView {
        side,
        spec: spec.to_string(),
        version: toolchain.summary().to_owned(),
        flags,
        verbose: verbose
            .into_iter()
            .flatten()
            .map(|text| text.trim())
            .collect::<Vec<_>>()
            .join("\n\n"),
    }
}

fn not_run(overall: &Overall) -> Vec<Fact> {
    let crates = |n: u64| words::count_of(n, "crate", "crates");
    vec![
        fact("left out by the denylist", crates(overall.denied)),
        fact("with limits of their own", crates(overall.own_limits)),
        fact("not finished", crates(overall.unfinished)),
        fact("given up for an error of ours", crates(overall.errors)),
        fact(
            "tried again after an error of ours",
            crates(overall.retried),
        ),
        fact(
            "run again to confirm a difference",
            crates(overall.confirmed),
        ),
    ]
}

fn costs(overall: &Overall) -> Vec<Fact> {
    let mut costs = Vec::new();
    for side in [Side::Candidate, Side::Baseline] {
        let cost = overall.sides.get(&side).copied().unwrap_or_default();
        let runs = words::count_of(cost.runs, "run", "runs");
        let (wall, cpu) = (
            words::duration(cost.duration_ms),
            words::duration(cost.cpu_ms),
        );
        costs.push(fact(side.name(), format!("{runs}, {wall} ({cpu} CPU)")));
    }
    let cost = overall.preparation;
    let (wall, cpu) = (
        words::duration(cost.duration_ms),
        words::duration(cost.cpu_ms),
    );
    costs.push(fact("preparation", format!("{wall} ({cpu} CPU)")));
    let peak = overall.peak_memory_bytes;
    costs.extend(peak.map(|bytes| fact("peak memory of a run", format!("{} MiB", bytes >> 20))));
    costs
}

fn durations(overall: &Overall) -> Vec<Bar> {
    let most = overall.durations.iter().copied().max().unwrap_or(0);
    if most == 0 {
        return Vec::new();
    }
    let seconds = |s: u64| {
        if s < 60 {
            format!("{s} s")
        } else {
            format!("{} min", s / 60)
        }
    };
    let label = |n: usize| match DURATIONS.get(n) {
        Some(s) => format!("under {}", seconds(*s)),
        None => format!("{} or more", seconds(DURATIONS[DURATIONS.len() - 1])),
    };
    let bars = overall.durations.iter().enumerate().map(|(n, count)| Bar {
        label: label(n),
        count: words::grouped(*count),
        width: format!("{:.2}", *count as f64 / most as f64 * 100.0),
    });
    bars.collect()
}

fn traffic(site: &Site<'_>) -> Vec<Fact> {
    let Some(serde_json::Value::Object(counts)) = site.traffic else {
        return Vec::new();
    };
    counts
        .iter()
        .map(|(name, count)| fact(&name.replace('_', " "), count.to_string()))
        .collect()
}

fn denylist(e: &ExperimentInfo) -> String {
    let Some(used) = &e.denylist_used else {
        let file = e.denylist.as_deref();
        return file.unwrap_or("the one that comes with Ejecta").to_owned();
    };
    match used.sha256.as_deref().and_then(|sha| sha.get(..12)) {
        Some(sha) => format!("{}: {} crates, SHA-256 {sha}", used.name, used.crates),
        None => used.name.clone(),
    }
}

fn facts(e: &ExperimentInfo) -> Vec<Fact> {
    let time = |t: Timestamp| t.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let mut facts = vec![
        fact("crates", e.selection.clone()),
        fact("mode", e.mode.name()),
        fact("scope", e.scope.name()),
        fact("lockfile", e.lockfile.name()),
        fact("baseline runs", e.baseline_runs.name()),
        fact("lint cap", e.cap_lints.name()),
        fact("seed", e.seed.to_string()),
        fact("denylist", denylist(e)),
    ];
    if e.compare != Compare::default() {
        facts.push(fact("compared", e.compare.name()));
    }
    facts.extend(
        e.snapshot
            .as_ref()
            .map(|s| fact("state of the registry", s.clone())),
    );
    if let Some(registry) = e.registry.as_ref().filter(|r| !r.public) {
        facts.push(fact("registry", registry.index.clone()));
    }
    facts.extend(e.sandbox.as_ref().map(|s| fact("sandbox", s.clone())));
    facts.extend(e.started.map(|t| fact("started", time(t))));
    facts.extend(e.finished.map(|t| fact("finished", time(t))));
    if let (Some(from), Some(to)) = (e.started, e.finished) {
        let ms = to.as_millisecond().saturating_sub(from.as_millisecond());
        facts.push(fact(
            "took",
            words::duration(u64::try_from(ms).unwrap_or(0)),
        ));
    }
    facts
}
