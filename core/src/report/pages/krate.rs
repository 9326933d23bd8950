//! One crate: both sides, their logs, units, steps and runs.

use std::collections::BTreeMap;

use askama::Template;

use super::super::model::{CrateResult, RunResult, SideOutcome, SideResult};
use super::super::steps::{self, StepRow};
use super::overview::shortened;
use super::{
    Fact, Frame, Site, cluster_path, colour, fact, lockfile_path, rendered, repository, source,
};
use crate::compare::{UnitComparison, Verdict};
use crate::logdiff::{self, LineSide, LogDiff};
use crate::outcome::{LockfileOrigin, Side, UnitStatus};
use crate::report::words;
use crate::shell::quoted;

/// How many units a page has at most.
const MAX_UNITS: usize = 200;
/// Lines of a log before its first error, and how many there are in all.
const BEFORE: usize = 12;
const LINES: usize = 120;
/// The longest line of a log on a page, in characters.
const MAX_CHARS: usize = 2_000;

/// What there is beside the results of a crate.
#[derive(Debug, Clone, Copy, Default)]
pub struct CrateParts<'a> {
    /// The log that the baseline's outcome is from.
    pub baseline_log: Option<&'a str>,
    /// That of the candidate.
    pub candidate_log: Option<&'a str>,
    /// Whether its lockfiles are published.
    pub lockfiles: bool,
}

#[derive(Template)]
#[template(path = "site/crate.html")]
struct Page {
    frame: Frame,
    body: String,
}

#[derive(Template)]
#[template(path = "site/crate_body.html")]
struct Body {
    root: &'static str,
    id: String,
    name: String,
    version: String,
    verdict: Verdict,
    meaning: &'static str,
    cluster: Option<(String, String)>,
    not_covered: Option<String>,
    message: Option<String>,
    facts: Vec<Fact>,
    source: String,
    source_href: Option<String>,
    repository: Option<String>,
    lockfiles: Vec<(String, String, Option<String>)>,
    notes: Vec<String>,
    sides: Vec<SideView>,
    diff: Option<DiffView>,
    excerpts: Vec<Excerpt>,
    units: Vec<UnitRow>,
    units_left_out: usize,
    steps: Vec<StepRow>,
    runs: Vec<RunRow>,
    replay: Option<String>,
}

struct SideView {
    name: &'static str,
    outcome: &'static str,
    tone: &'static str,
    lines: Vec<String>,
    cost: String,
    log: Option<String>,
}

struct UnitRow {
    name: String,
    verdict: &'static str,
    candidate: String,
    baseline: String,
}

struct RunRow {
    tier: String,
    side: &'static str,
    outcome: String,
    time: String,
    cpu: String,
    memory: String,
    log: Option<String>,
}

/// The lines of a log around its first error; all HTML.
struct Excerpt {
    side: &'static str,
    href: String,
    from: usize,
    to: usize,
    all: usize,
    before: String,
    hit: String,
    after: String,
}

/// A difference of logs, as templates show it.
pub(super) struct DiffView {
    pub(super) hunks: Vec<HunkView>,
    pub(super) left_out: usize,
    pub(super) cut: bool,
}

pub(super) struct HunkView {
    pub(super) command: Option<String>,
    pub(super) lines: Vec<DiffLineView>,
}

pub(super) struct DiffLineView {
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) text: String,
}

impl DiffView {
    pub(super) fn new(diff: &LogDiff) -> Self {
        let mut said = None;
        let hunks = diff.hunks.iter().map(|hunk| HunkView {
            // Said once above all that is of the same command.
            command: (said.replace(&hunk.command) != Some(&hunk.command))
                .then(|| hunk.command.clone())
                .flatten(),
            lines: hunk
                .lines
                .iter()
                .map(|line| {
                    let (class, sign) = match line.side {
                        LineSide::Both => ("both", "  "),
                        LineSide::Baseline => ("del", "- "),
                        LineSide::Candidate => ("add", "+ "),
                    };
                    let text = line.text.clone();
                    DiffLineView { class, sign, text }
                })
                .collect(),
        });
        Self {
            hunks: hunks.collect(),
            left_out: diff.left_out,
            cut: diff.cut,
        }
    }
}

/// Renders the page of a crate.
pub fn page(site: &Site<'_>, krate: &CrateResult, parts: &CrateParts<'_>) -> String {
    let title = format!("{} {}: {}", krate.name, krate.version, krate.verdict);
    rendered(&Page {
        frame: site.frame("../", "crates", &title),
        body: body_below(site, krate, parts, "../"),
    })
}

/// Renders what a crate's page holds, for `crate.html`.
pub fn body(site: &Site<'_>, krate: &CrateResult, parts: &CrateParts<'_>) -> String {
    body_below(site, krate, parts, "")
}

fn body_below(
    site: &Site<'_>,
    krate: &CrateResult,
    parts: &CrateParts<'_>,
    root: &'static str,
) -> String {
    let (source, source_href) = source(site.experiment, krate);
    let logs = [
        (Side::Candidate, parts.candidate_log),
        (Side::Baseline, parts.baseline_log),
    ];
    let diff = match (parts.baseline_log, parts.candidate_log) {
        (Some(baseline), Some(candidate)) => Some(logdiff::diff(baseline, candidate)),
        _ => None,
    };
    let ran = krate.tiers.iter().any(|t| !t.runs.is_empty());
    let message = krate.message.as_ref().or(krate.skip.as_ref());
    rendered(&Body {
        root,
        id: krate.id.to_string(),
        name: krate.name.to_string(),
        version: krate.version.to_string(),
        verdict: krate.verdict,
        meaning: words::meaning(krate.verdict),
        cluster: krate.cluster.as_ref().map(|id| {
            let cluster = site.clusters.iter().find(|c| c.id == *id);
            let text = cluster.map_or_else(|| id.to_string(), |c| shortened(&c.signature));
            (text, words::link(&cluster_path(id)))
        }),
        not_covered: (!krate.covered).then(|| shortened(&words::why_not_covered(krate))),
        message: message.cloned(),
        facts: facts(krate),
        source,
        source_href,
        repository: repository(krate),
        lockfiles: lockfiles(krate, parts.lockfiles),
        notes: words::notes(krate).into_iter().map(str::to_owned).collect(),
        sides: sides(krate),
        diff: diff.as_ref().map(DiffView::new),
        excerpts: logs
            .into_iter()
            .filter_map(|(side, log)| excerpt(krate, side, log?))
            .collect(),
        units: krate.units.iter().take(MAX_UNITS).map(unit).collect(),
        units_left_out: krate.units.len().saturating_sub(MAX_UNITS),
        steps: steps::rows(krate),
        runs: runs(krate),
        replay: ran.then(|| {
            let id = quoted(krate.id.as_str());
            words::one_line(&format!("ejecta replay results.json {id}"))
        }),
    })
}

fn facts(krate: &CrateResult) -> Vec<Fact> {
    let mut facts = Vec::new();
    if krate.attempts > 1 {
        facts.push(fact("attempts", krate.attempts.to_string()));
    }
    let tiers = krate
        .tiers
        .iter()
        .map(|t| format!("{}: {}", t.tier, t.verdict));
    let tiers: Vec<String> = tiers.collect();
    if !tiers.is_empty() {
        facts.push(fact("tiers", tiers.join(", ")));
    }
    let known = krate.reason.filter(|reason| !reason.is_unknown());
    facts.extend(known.map(|reason| fact("kind of fault", reason.name())));
    if krate.limits.is_some() {
        facts.push(fact("limits", "of its own, by the denylist"));
    }
    let prepared: u64 = krate
        .tiers
        .iter()
        .filter_map(|t| t.preparation)
        .map(|p| p.duration_ms)
        .sum();
    if prepared > 0 {
        facts.push(fact("preparation", words::duration(prepared)));
    }
    facts
}

/// What it is, its name, and where it is.
fn lockfiles(krate: &CrateResult, published: bool) -> Vec<(String, String, Option<String>)> {
    let mut found = BTreeMap::new();
    for tier in &krate.tiers {
        let Some(lockfile) = &tier.lockfile else {
            continue;
        };
        let origin = match lockfile.origin {
            LockfileOrigin::Published => "published",
            LockfileOrigin::Fresh => "resolved afresh",
        };
        let dev = if lockfile.dev_dependencies {
            ", with dev-dependencies"
        } else {
            ""
        };
        let what = format!("lockfile, tier {}: {origin}{dev}", tier.tier);
        found.insert(what, lockfile.sha256.clone());
        for (side, sha256) in &lockfile.own {
            let what = format!("lockfile of the {side}, tier {}", tier.tier);
            found.insert(what, sha256.clone());
        }
    }
    let all = found.into_iter().map(|(what, sha256)| {
        let href = published.then(|| words::link(&lockfile_path(&sha256)));
        let short = sha256.get(..12).unwrap_or(&sha256).to_owned();
        (what, short, href)
    });
    all.collect()
}

fn sides(krate: &CrateResult) -> Vec<SideView> {
    let view = |side: Side| {
        let Some(result) = krate.side(side) else {
            let ran = krate.tiers.iter().any(|t| !t.runs.is_empty());
            return ran.then(|| SideView {
                name: side.name(),
                outcome: "not run",
                tone: "",
                lines: vec!["The candidate passed, so there was nothing to compare.".to_owned()],
                cost: String::new(),
                log: None,
            });
        };
        Some(SideView {
            name: side.name(),
            outcome: result.outcome.name(),
            tone: match result.outcome {
                SideOutcome::TestPass => "good",
                SideOutcome::TestFail | SideOutcome::BuildFail => "bad",
                SideOutcome::Skipped => "",
            },
            lines: lines(result),
            cost: cost(result),
            log: result.log.as_deref().map(words::link),
        })
    };
    [Side::Candidate, Side::Baseline]
        .into_iter()
        .filter_map(view)
        .collect()
}

fn lines(side: &SideResult) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(side.reason.as_ref().map(words::reason_text));
    lines.extend(
        side.limit
            .as_ref()
            .map(|l| format!("stopped at a limit: {l}")),
    );
    if let Some(error) = &side.error {
        lines.push(shortened(&words::error_text(error)));
        let place = error.place.as_deref().map(|p| format!(" at {p}"));
        let place = place.unwrap_or_default();
        lines.push(format!("in {}, {}{place}", error.package, error.unit));
    }
    lines
}

fn cost(side: &SideResult) -> String {
    let runs = words::count(side.runs as usize, "run", "runs");
    let cpu = side
        .cpu_ms
        .map(|ms| format!(", {} CPU", words::duration(ms)));
    let time = words::duration(side.duration_ms);
    format!("{runs}, {time}{}", cpu.unwrap_or_default())
}

fn unit(unit: &UnitComparison) -> UnitRow {
    let said = |status: Option<UnitStatus>, tally: crate::compare::Tally| {
        let word = match status {
            None => "not run",
            Some(UnitStatus::Pass) => "passes",
            Some(UnitStatus::Fail) => "fails",
            Some(UnitStatus::Blocked) => "never tried",
            Some(UnitStatus::NeedsNightly) => "needs a nightly compiler",
            Some(UnitStatus::NeedsNewerRust) => "needs a newer Rust",
        };
        if tally.runs > 1 {
            format!("{word}; failed {} times", words::tally(tally))
        } else {
            word.to_owned()
        }
    };
    UnitRow {
        name: unit.unit.to_string(),
        verdict: unit.verdict.name(),
        candidate: said(unit.candidate, unit.candidate_tally),
        baseline: said(unit.baseline, unit.baseline_tally),
    }
}

fn runs(krate: &CrateResult) -> Vec<RunRow> {
    let row = |tier: &str, run: &RunResult| RunRow {
        tier: if run.dev_dependencies {
            format!("{tier}, with dev-dependencies")
        } else {
            tier.to_owned()
        },
        side: run.side.name(),
        outcome: match (&run.reason, run.passed) {
            (Some(reason), _) => shortened(&words::reason_text(reason)),
            (None, true) => "passes".to_owned(),
            (None, false) => "fails".to_owned(),
        },
        time: words::duration(run.cost.duration_ms),
        cpu: run.cost.cpu_ms.map_or(String::new(), words::duration),
        memory: run
            .cost
            .peak_memory_bytes
            .map_or(String::new(), |b| format!("{} MiB", b >> 20)),
        log: run.log.as_deref().map(words::link),
    };
    let tiers = krate.tiers.iter();
    tiers
        .flat_map(|t| t.runs.iter().map(|run| row(t.tier.name(), run)))
        .collect()
}

/// The part of a log that says most: its first error with what is around it, or else its end.
fn excerpt(krate: &CrateResult, side: Side, log: &str) -> Option<Excerpt> {
    let href = words::link(krate.side(side)?.log.as_deref()?);
    let lines: Vec<&str> = log.lines().collect();
    let hit = logdiff::first_error(log).filter(|hit| hit.end <= lines.len());
    let (from, to, hit) = match hit {
        Some(hit) => {
            let from = hit.start.saturating_sub(BEFORE);
            let to = (from + LINES).min(lines.len());
            (from, to, hit.start..hit.end.min(to))
        }
        None => {
            let from = lines.len().saturating_sub(LINES / 4);
            (from, lines.len(), lines.len()..lines.len())
        }
    };
    let html = |range: std::ops::Range<usize>| {
        let mut out = String::new();
        for line in &lines[range] {
            let end = line.char_indices().nth(MAX_CHARS).map(|(at, _)| at);
            match end {
                Some(at) => {
                    out.push_str(&line[..at]);
                    out.push_str(" […]\n");
                }
                None => {
                    out.push_str(line);
                    out.push('\n');
                }
            }
        }
        colour::rustc(&out)
    };
    Some(Excerpt {
        side: side.name(),
        href,
        from: (from + 1).min(to),
        to,
        all: lines.len(),
        before: html(from..hit.start),
        hit: html(hit.clone()),
        after: html(hit.end..to),
    })
}
