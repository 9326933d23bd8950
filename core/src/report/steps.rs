//! A crate step by step: what each side did in each cargo command, in the words of a report.

use super::model::{CrateResult, RunResult, SideResult, StepResult};
use super::words;
use crate::outcome::{Side, UnitOutcome, UnitStatus};

/// How many names of units or tests a cell has.
const MAX_NAMES: usize = 6;

/// One step on both sides.
pub(crate) struct StepRow {
    /// Its name.
    pub(crate) step: String,
    /// What the candidate did, and the baseline.
    pub(crate) cells: [Cell; 2],
}

/// What one side did in a step.
pub(crate) struct Cell {
    /// Whether it failed.
    pub(crate) bad: bool,
    /// In words, a fact each.
    pub(crate) lines: Vec<String>,
}

/// The steps of a crate, as the runs did them that its outcomes are from; none where nothing ran.
pub(crate) fn rows(krate: &CrateResult) -> Vec<StepRow> {
    let sides = [Side::Candidate, Side::Baseline];
    let runs = sides.map(|side| krate.side(side).and_then(|result| run(krate, side, result)));
    let mut names: Vec<&str> = Vec::new();
    for step in runs.iter().flatten().flat_map(|run| &run.steps) {
        if !names.contains(&step.step.as_str()) {
            names.push(&step.step);
        }
    }
    names
        .into_iter()
        .map(|name| StepRow {
            step: name.to_owned(),
            cells: runs.map(|run| cell(run, name)),
        })
        .collect()
}

/// The steps of a crate where they say more than its units do: where there are several, tests, or
/// warnings.
pub(crate) fn worth_telling(krate: &CrateResult) -> Vec<StepRow> {
    let mut steps = krate
        .tiers
        .iter()
        .flat_map(|t| &t.runs)
        .flat_map(|r| &r.steps);
    let rows = rows(krate);
    let more = steps.any(|step| step.tests.is_some() || !step.warnings.is_empty());
    if rows.len() > 1 || (more && !rows.is_empty()) {
        rows
    } else {
        Vec::new()
    }
}

/// The run that a side's outcome is from: the one with its log.
fn run<'a>(krate: &'a CrateResult, side: Side, result: &SideResult) -> Option<&'a RunResult> {
    let mut runs = krate.tiers.iter().flat_map(|tier| &tier.runs);
    runs.find(|run| run.side == side && run.log == result.log)
}

fn cell(run: Option<&RunResult>, name: &str) -> Cell {
    let Some(run) = run else {
        return Cell {
            bad: false,
            lines: vec!["not run".to_owned()],
        };
    };
    match run.steps.iter().find(|step| step.step == name) {
        Some(step) => Cell {
            bad: !step.passed,
            lines: lines(step),
        },
        None => Cell {
            bad: false,
            lines: vec!["not reached".to_owned()],
        },
    }
}

fn lines(step: &StepResult) -> Vec<String> {
    let mut lines = Vec::new();
    let outcome = match (&step.reason, step.passed) {
        (Some(reason), _) => words::reason_text(reason),
        (None, true) => "passes".to_owned(),
        (None, false) => "fails".to_owned(),
    };
    lines.push(outcome);
    lines.extend(units(&step.units));
    if let Some(tests) = step.tests {
        let mut text = format!("{} passed, {} failed", tests.passed, tests.failed);
        if tests.ignored > 0 {
            text += &format!(", {} ignored", tests.ignored);
        }
        lines.push(format!("tests: {text}"));
    }
    if !step.failed_tests.is_empty() {
        lines.push(names("failed", step.failed_tests.iter().cloned()));
    }
    if !step.warnings.is_empty() {
        let counted = step.warnings.iter();
        lines.push(names(
            "warnings",
            counted.map(|(code, n)| format!("{n} {code}")),
        ));
    }
    lines
}

/// The units that did not pass, by what became of them.
fn units(units: &[UnitOutcome]) -> Vec<String> {
    let of = |status: UnitStatus| {
        let those: Vec<String> = units
            .iter()
            .filter(|u| u.status == status)
            .map(|u| u.unit.to_string())
            .collect();
        let what = match status {
            UnitStatus::Pass => return None,
            UnitStatus::Fail => "fails",
            UnitStatus::Blocked => "never tried",
            UnitStatus::NeedsNightly => "needs a nightly compiler",
            UnitStatus::NeedsNewerRust => "needs a newer Rust",
        };
        (!those.is_empty()).then(|| names(what, those.into_iter()))
    };
    let all = [
        UnitStatus::Fail,
        UnitStatus::Blocked,
        UnitStatus::NeedsNightly,
        UnitStatus::NeedsNewerRust,
    ];
    all.into_iter().filter_map(of).collect()
}

/// `what: a, b, c and 4 more`.
fn names(what: &str, all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(MAX_NAMES);
    let shown: Vec<String> = all.take(MAX_NAMES).collect();
    let mut text = format!("{what}: {}", shown.join(", "));
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}
