//! A ready issue for a cluster, in Markdown, for the repository of the package that fails.
//!
//! It stands by itself: what broke, between which toolchains, the error, how to see it with cargo
//! alone and with Ejecta, which crates are affected, and how sure that is. All text from outside is
//! in code spans and fenced blocks, where Markdown, HTML and mentions mean nothing.

use std::fmt::Write as _;

use crate::cluster::CauseKind;
use crate::compare::{Tally, UnitVerdict};
use crate::krate::Source;
use crate::log::clean;
use crate::outcome::UnitKind;
use crate::report::markdown::code;
use crate::report::model::{ClusterResult, CrateResult, ExperimentInfo, Results, Toolchain};
use crate::shell::quoted;
use crate::toolchain::ToolchainSource;

/// How many affected crates are named.
const MAX_CRATES: usize = 20;
/// The longest title, in characters.
const MAX_TITLE_CHARS: usize = 140;
/// The longest error that is quoted, in lines.
const MAX_ERROR_LINES: usize = 80;
/// What stands in place of a link that is not known yet.
pub const LINK_PLACEHOLDER: &str = "LINK-TO-THE-REPORT";

/// An issue that may be filed as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueText {
    /// One line, plain text.
    pub title: String,
    /// Markdown, with a newline at the end.
    pub body: String,
}

/// Writes the issue of `cluster`, one of those of `results`. `link` leads to the cluster's page;
/// where there is none, [`LINK_PLACEHOLDER`] stands in its place.
pub fn issue(results: &Results, cluster: &ClusterResult, link: Option<&str>) -> IssueText {
    let members: Vec<&CrateResult> = members(results, cluster).collect();
    let selected = results.crates.len();
    issue_of(&results.experiment, selected, &members, cluster, link)
}

/// The same where the results are not all at hand: `members` are the first crates of the cluster,
/// those of which it is the first cause before others, and `selected` counts all crates.
pub fn issue_of(
    experiment: &ExperimentInfo,
    selected: usize,
    members: &[&CrateResult],
    cluster: &ClusterResult,
    link: Option<&str>,
) -> IssueText {
    let mut body = String::new();
    what(&mut body, experiment, members, cluster);
    error(&mut body, cluster);
    reproduce(&mut body, experiment, members, cluster);
    affected(&mut body, selected, members, cluster);
    let link = link.map_or_else(|| LINK_PLACEHOLDER.to_owned(), address);
    let _ = writeln!(body, "The whole report: {link}");
    IssueText {
        title: title(experiment, cluster),
        body,
    }
}

/// What the package does with the candidate, and did not with the baseline.
fn verb(kind: CauseKind) -> &'static str {
    match kind {
        CauseKind::Error | CauseKind::Other => "does not build",
        CauseKind::Ice => "makes the compiler crash",
        CauseKind::Test => "fails its tests",
        CauseKind::Warnings => "has more warnings",
        CauseKind::Limit => "hits a limit",
    }
}

fn title(experiment: &ExperimentInfo, cluster: &ClusterResult) -> String {
    let version = release(&experiment.candidate);
    let mut title = match &cluster.root {
        Some(root) => format!("{root} {} with {version}", verb(cluster.kind)),
        None => format!("{version}: {} crates regressed", size(cluster)),
    };
    let code = cluster
        .code
        .as_deref()
        .map_or(String::new(), |code| format!("{code}, "));
    let _ = write!(title, ": {code}{}", cluster.signature);
    let title = one_line(&title);
    match title.char_indices().nth(MAX_TITLE_CHARS) {
        Some((at, _)) => format!("{}…", &title[..at]),
        None => title,
    }
}

fn size(cluster: &ClusterResult) -> usize {
    cluster.crates.len() + cluster.also.len()
}

/// `rustc 1.97.0-nightly` of `rustc 1.97.0-nightly (e50aa6fba 2026-05-19)`.
fn release(toolchain: &Toolchain) -> String {
    let summary = toolchain.summary();
    match summary.split_once(" (") {
        Some((release, _)) => release.to_owned(),
        None if toolchain.rustc.is_none() => toolchain.spec.to_string(),
        None => summary.to_owned(),
    }
}

fn what(out: &mut String, e: &ExperimentInfo, members: &[&CrateResult], cluster: &ClusterResult) {
    let (old, new) = (code(&release(&e.baseline)), code(&release(&e.candidate)));
    let verb = verb(cluster.kind);
    let _ = match &cluster.root {
        Some(root) => writeln!(
            out,
            "{} {verb} with {new}, unlike with {old}.\n",
            code(&root.to_string())
        ),
        None => writeln!(
            out,
            "Each of {} crates {verb} with {new}, unlike with {old}.\n",
            size(cluster)
        ),
    };
    for (word, toolchain) in [("good", &e.baseline), ("bad", &e.candidate)] {
        let (spec, version) = (code(&toolchain.spec.to_string()), code(toolchain.summary()));
        let _ = writeln!(out, "- {word}: {spec}, {version}");
    }
    if let Some(place) = &cluster.place {
        let _ = writeln!(out, "- place: {}", code(place));
    }
    let (bad, good) = tallies(members);
    let _ = writeln!(
        out,
        "- runs: failed in {} of {} with the bad toolchain, in {} of {} with the good one\n",
        bad.bad, bad.runs, good.bad, good.runs
    );
}

/// How often it failed with the candidate and with the baseline, over all crates: of each the unit
/// that regressed and ran most often.
fn tallies(members: &[&CrateResult]) -> (Tally, Tally) {
    let mut sums = (Tally::default(), Tally::default());
    for krate in members {
        let regressed = krate
            .units
            .iter()
            .filter(|u| u.verdict == UnitVerdict::Regressed);
        let Some(unit) = regressed.max_by_key(|u| u.candidate_tally.runs) else {
            continue;
        };
        for (sum, tally) in [
            (&mut sums.0, unit.candidate_tally),
            (&mut sums.1, unit.baseline_tally),
        ] {
            sum.bad += tally.bad;
            sum.runs += tally.runs;
        }
    }
    sums
}

/// The crates of a cluster, those of which it is the first cause before others.
fn members<'a>(
    results: &'a Results,
    cluster: &'a ClusterResult,
) -> impl Iterator<Item = &'a CrateResult> {
    let position = |id: &_| {
        cluster
            .crates
            .iter()
            .chain(&cluster.also)
            .position(|c| c == id)
    };
    let found = results
        .crates
        .iter()
        .filter_map(move |k| Some((position(&k.id)?, k)));
    let mut found: Vec<(usize, &CrateResult)> = found.collect();
    found.sort_by_key(|(n, _)| *n);
    found.into_iter().map(|(_, krate)| krate)
}

fn error(out: &mut String, cluster: &ClusterResult) {
    let text = match cluster.rendered.as_deref().filter(|r| !r.trim().is_empty()) {
        Some(rendered) => clean(rendered),
        None => clean(&cluster.signature),
    };
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let mut text = lines[..lines.len().min(MAX_ERROR_LINES)].join("\n");
    if lines.len() > MAX_ERROR_LINES {
        let _ = write!(text, "\n[{} more lines]", lines.len() - MAX_ERROR_LINES);
    }
    out.push_str(&fenced(&text, "text"));
    out.push('\n');
}

/// A fenced block whose fence is longer than any row of backticks in it.
fn fenced(text: &str, language: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}{language}\n{text}\n{fence}\n")
}

fn reproduce(
    out: &mut String,
    e: &ExperimentInfo,
    members: &[&CrateResult],
    cluster: &ClusterResult,
) {
    let Some(krate) = members.first() else {
        return;
    };
    out.push_str("## How to reproduce\n\n");
    let (setup, command, hint) = steps(krate, cluster);
    let mut script = setup;
    for (toolchain, how) in [(&e.baseline, "good"), (&e.candidate, "bad")] {
        script.push(format!("{} # {how}", cargo(toolchain, &command)));
    }
    let script: Vec<String> = script.iter().map(|line| one_line(line)).collect();
    let _ = writeln!(out, "With cargo alone{hint}:\n");
    out.push_str(&fenced(&script.join("\n"), "sh"));
    out.push_str("\nWith Ejecta, in the same sandbox with the same lockfile:\n\n");
    let replay = format!("ejecta replay results.json {}", quoted(krate.id.as_str()));
    out.push_str(&fenced(&one_line(&replay), "sh"));
    out.push('\n');
}

/// What to do once, the arguments of cargo with each toolchain, and what to know before.
fn steps(krate: &CrateResult, cluster: &ClusterResult) -> (Vec<String>, String, &'static str) {
    let release = quoted(&format!("{}@={}", krate.name, krate.version));
    let has = |kind| krate.units.iter().any(|u| u.unit.kind == kind);
    let regressed = || {
        krate
            .units
            .iter()
            .filter(|u| u.verdict == UnitVerdict::Regressed)
    };
    let in_tests = regressed().next().is_some() && !regressed().any(|u| u.unit.is_primary());
    // Cargo shows no lints of dependencies, and builds no tests of theirs.
    let is_lint = cluster.code.as_deref().is_some_and(|code| {
        let digits = code.strip_prefix('E');
        !digits.is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit()))
    });
    let in_source = if cluster.kind == CauseKind::Test {
        "test"
    } else {
        "check --all-targets"
    };
    match &krate.source {
        Source::Git { url, commit, path } => {
            let mut lines = vec![
                format!("git clone {} repro && cd repro", quoted(url.as_str())),
                format!("git checkout {commit}"),
            ];
            if !path.is_empty() {
                lines.push(format!("cd {}", quoted(path)));
            }
            (lines, in_source.to_owned(), "")
        }
        Source::Local { .. } => (
            Vec::new(),
            in_source.to_owned(),
            ", in the crate's directory",
        ),
        Source::Registry { .. } if in_tests || is_lint || cluster.kind == CauseKind::Warnings => (
            Vec::new(),
            in_source.to_owned(),
            ", in the source of the release",
        ),
        Source::Registry { .. } if has(UnitKind::Bin) && !has(UnitKind::Lib) => {
            let command = format!("install {release} --root installed --force");
            (Vec::new(), command, "")
        }
        Source::Registry { .. } => {
            let mut lines = vec![
                "cargo new repro && cd repro".to_owned(),
                format!("cargo add {release}"),
            ];
            let own = |name: &str| name == krate.name.as_str();
            if let Some(root) = cluster.root.as_ref().filter(|r| !own(&r.name))
                && let Some(version) = &root.version
            {
                let version = quoted(&version.to_string());
                lines.push(format!(
                    "cargo update {} --precise {version}",
                    quoted(&root.name)
                ));
            }
            (lines, "check".to_owned(), "")
        }
    }
}

/// The command line that runs cargo with a toolchain.
fn cargo(toolchain: &Toolchain, arguments: &str) -> String {
    let spec = &toolchain.spec;
    let mut line = String::new();
    if !spec.rustflags.is_empty() {
        let _ = write!(line, "RUSTFLAGS={} ", quoted(&spec.rustflags.join(" ")));
    }
    match &spec.source {
        ToolchainSource::Rustup(name) => {
            let _ = write!(line, "cargo +{} {arguments}", quoted(name));
        }
        ToolchainSource::Path(directory) => {
            let program = quoted(&format!("{directory}/bin/cargo"));
            let _ = write!(line, "{program} {arguments}");
        }
        ToolchainSource::Commit { sha, .. } => {
            // The name under which `rustup-toolchain-install-master` installs it.
            let _ = write!(line, "cargo +{sha} {arguments}");
        }
    }
    if let Some(target) = &spec.target {
        let _ = write!(line, " --target {}", quoted(target));
    }
    for flag in &spec.cargoflags {
        let _ = write!(line, " {}", quoted(flag));
    }
    line
}

fn affected(out: &mut String, selected: usize, members: &[&CrateResult], cluster: &ClusterResult) {
    let all = size(cluster);
    let crates = if all == 1 { "crate" } else { "crates" };
    let _ = writeln!(
        out,
        "## Affected\n\n{all} {crates}, of {selected} that were selected:\n"
    );
    for krate in members.iter().take(MAX_CRATES) {
        let name = code(&format!("{} {}", krate.name, krate.version));
        let beside = if cluster.also.contains(&krate.id) {
            " (beside another cause)"
        } else {
            ""
        };
        let _ = writeln!(out, "- {name}{beside}");
    }
    if all > MAX_CRATES {
        let _ = writeln!(out, "- and {} more", all - MAX_CRATES);
    }
    out.push('\n');
}

/// Text on one line, without anything that a terminal would obey.
fn one_line(text: &str) -> String {
    clean(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// An address in a line of Markdown: nothing in it ends the link or the line.
fn address(link: &str) -> String {
    let safe: String = link
        .chars()
        .filter(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>'))
        .collect();
    format!("<{safe}>")
}
