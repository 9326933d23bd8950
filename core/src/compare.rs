//! Two sides of a crate in, a verdict out. Total: every pair of outcomes has an answer.
//!
//! First unit by unit ([`units`]), then one verdict for a job ([`judge_job`]), then one for the
//! crate over both tiers ([`merge_tiers`]). A broken bench says nothing about the library, and a
//! difference that did not repeat is never called a regression.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::experiment::Compare;
use crate::outcome::{
    Diagnostic, JobRecord, Reason, Run, Side, UnitKey, UnitKind, UnitStatus, Unprepared,
};
use crate::test_step;

/// The comparison of one unit over all runs of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitVerdict {
    /// Good with the baseline, bad with the candidate, each time.
    Regressed,
    /// Not the same in all runs of a side.
    Flaky,
    /// Bad with the baseline, good with the candidate, each time.
    Fixed,
    /// Good with the candidate, and with the baseline wherever that ran.
    Pass,
    /// Bad on both sides.
    Fail,
    /// Cannot be compared: it needs a nightly compiler, or only one side has it.
    Skipped,
}

impl UnitVerdict {
    /// The name used in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Flaky => "flaky",
            Self::Fixed => "fixed",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        }
    }

    /// Whether the two sides could really be compared.
    pub fn compared(self) -> bool {
        matches!(self, Self::Regressed | Self::Fixed | Self::Pass)
    }
}

/// How often a unit was bad, of how many runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Runs in which it failed or was blocked.
    pub bad: u32,
    /// Runs of that side.
    pub runs: u32,
}

/// One unit, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitComparison {
    /// The unit.
    pub unit: UnitKey,
    /// What came out.
    pub verdict: UnitVerdict,
    /// How it ended with the baseline the first time; `None` where that did not run or has no
    /// such unit.
    pub baseline: Option<UnitStatus>,
    /// How it ended with the candidate the first time.
    pub candidate: Option<UnitStatus>,
    /// Counts of the baseline.
    pub baseline_tally: Tally,
    /// Counts of the candidate.
    pub candidate_tally: Tally,
}

/// All runs of one side, as far as one unit is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Summary {
    NotRun,
    Absent,
    /// By design: `#![feature]` on a stable compiler, a `rust-version` above it.
    Refused,
    Good,
    Bad,
    Mixed,
    /// Never reached in any run, and each was stopped at a limit.
    Cut,
}

/// Whether a limit stopped each run of a side.
fn stopped_at_limits(runs: &[&Run]) -> bool {
    let limited = |run: &&Run| matches!(run.reason(), Some(Reason::Limit { .. }));
    !runs.is_empty() && runs.iter().all(limited)
}

/// Where limits stopped all runs of a side, a unit that one of them did not reach is no sign of
/// anything: its turn had not come, and which units are done by then is chance.
fn summarise_side(runs: &[&Run], unit: &UnitKey, statuses: &[Option<UnitStatus>]) -> Summary {
    if !stopped_at_limits(runs) {
        return summarise(statuses);
    }
    let reached: Vec<Option<UnitStatus>> = runs
        .iter()
        .zip(statuses)
        .filter(|(run, _)| run.reached(unit))
        .map(|(_, status)| *status)
        .collect();
    if reached.is_empty() {
        return Summary::Cut;
    }
    summarise(&reached)
}

fn summarise(statuses: &[Option<UnitStatus>]) -> Summary {
    if statuses.is_empty() {
        return Summary::NotRun;
    }
    let by_design = |s: &Option<UnitStatus>| match s {
        Some(UnitStatus::NeedsNightly | UnitStatus::NeedsNewerRust) => true,
        Some(UnitStatus::Pass | UnitStatus::Fail | UnitStatus::Blocked) | None => false,
    };
    if statuses.iter().any(by_design) {
        return Summary::Refused;
    }
    if statuses.iter().all(Option::is_none) {
        return Summary::Absent;
    }
    let good = statuses.contains(&Some(UnitStatus::Pass));
    let bad = statuses
        .iter()
        .any(|s| matches!(s, Some(UnitStatus::Fail | UnitStatus::Blocked)));
    match (good, bad) {
        (true, false) => Summary::Good,
        (false, true) => Summary::Bad,
        _ => Summary::Mixed,
    }
}

fn unit_verdict(baseline: Summary, candidate: Summary) -> UnitVerdict {
    use Summary::{Absent, Bad, Cut, Good, Mixed, NotRun, Refused};
    match (baseline, candidate) {
        (Refused | Absent, _) | (_, Refused | Absent | NotRun) => UnitVerdict::Skipped,
        (Mixed, _) | (_, Mixed) => UnitVerdict::Flaky,
        (Good | NotRun, Good) => UnitVerdict::Pass,
        (Bad | Cut, Good) => UnitVerdict::Fixed,
        (Good, Bad | Cut) => UnitVerdict::Regressed,
        (Bad | Cut | NotRun, Bad | Cut) => UnitVerdict::Fail,
    }
}

/// Compares unit by unit, over every unit that any run speaks of, in the order of their keys.
pub fn units(baselines: &[&Run], candidates: &[&Run]) -> Vec<UnitComparison> {
    let all: BTreeSet<&UnitKey> = baselines
        .iter()
        .chain(candidates)
        .flat_map(|run| &run.steps)
        .flat_map(|step| &step.units)
        .map(|outcome| &outcome.unit)
        .collect();
    let statuses = |runs: &[&Run], unit: &UnitKey| -> Vec<Option<UnitStatus>> {
        runs.iter().map(|run| run.unit_status(unit)).collect()
    };
    all.into_iter()
        .map(|unit| {
            let (b, c) = (statuses(baselines, unit), statuses(candidates, unit));
            let sides = (
                summarise_side(baselines, unit, &b),
                summarise_side(candidates, unit, &c),
            );
            let both_limited = stopped_at_limits(baselines) && stopped_at_limits(candidates);
            let verdict = match sides {
                // Which of the two came to it before its limit is chance.
                (Summary::Cut, Summary::Good) | (Summary::Good, Summary::Cut) if both_limited => {
                    UnitVerdict::Skipped
                }
                (Summary::Bad, Summary::Bad) => by_tests(baselines, candidates, unit),
                (baseline, candidate) => unit_verdict(baseline, candidate),
            };
            UnitComparison {
                unit: unit.clone(),
                verdict,
                baseline: b.first().copied().flatten(),
                candidate: c.first().copied().flatten(),
                baseline_tally: tally(&b),
                candidate_tally: tally(&c),
            }
        })
        .collect()
}

/// A unit that fails on both sides may still fail for other tests: one that fails each time with
/// one side, and never with the other, is a difference.
fn by_tests(baselines: &[&Run], candidates: &[&Run], unit: &UnitKey) -> UnitVerdict {
    if !only_here(candidates, baselines, unit).is_empty() {
        UnitVerdict::Regressed
    } else if !only_here(baselines, candidates, unit).is_empty() {
        UnitVerdict::Fixed
    } else {
        UnitVerdict::Fail
    }
}

/// The tests of `unit` that failed in each run `here` and in no run `there`; none where some run
/// does not name all of its failed tests.
fn only_here<'a>(here: &[&'a Run], there: &[&'a Run], unit: &UnitKey) -> BTreeSet<&'a str> {
    let of = |run: &&'a Run| run.failed_tests(unit);
    let here: Option<Vec<_>> = here.iter().map(of).collect();
    let there: Option<Vec<_>> = there.iter().map(of).collect();
    let (Some(here), Some(there)) = (here, there) else {
        return BTreeSet::new();
    };
    let Some((first, rest)) = here.split_first() else {
        return BTreeSet::new();
    };
    let each_time = |test: &&str| rest.iter().all(|run| run.contains(*test));
    let never_there = |test: &&str| !there.iter().any(|run| run.contains(*test));
    let tests = first.iter().copied();
    tests.filter(each_time).filter(never_there).collect()
}

/// Codes of warnings of which each run of `more` has more than any of `less`, where all of them
/// passed: a run that failed had no time to warn of everything.
pub fn grown_warnings(less: &[&Run], more: &[&Run]) -> BTreeSet<String> {
    let all = || less.iter().chain(more);
    if less.is_empty() || more.is_empty() || !all().all(|run| run.passed()) {
        return BTreeSet::new();
    }
    let codes: BTreeSet<&str> = all().flat_map(|run| run.warning_codes()).collect();
    let grew = |code: &&str| {
        let most = less.iter().map(|run| run.warnings(code)).max();
        let least = more.iter().map(|run| run.warnings(code)).min();
        least > most
    };
    codes.into_iter().filter(grew).map(str::to_owned).collect()
}

fn tally(statuses: &[Option<UnitStatus>]) -> Tally {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Tally {
        bad: count(
            statuses
                .iter()
                .filter(|s| s.is_some_and(|s| s != UnitStatus::Pass))
                .count(),
        ),
        runs: count(statuses.len()),
    }
}

/// The comparison of the two outcomes of a crate. The names are those of the reference runner,
/// and `flaky`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The candidate broke it, and that repeated.
    Regressed,
    /// An infrastructure failure of ours: nothing is known.
    Error,
    /// It failed with the candidate only, at a limit of the sandbox.
    SpuriousRegressed,
    /// It did not do the same twice.
    Flaky,
    /// The candidate mended it, and that repeated.
    Fixed,
    /// It failed with the baseline only, at a limit of the sandbox.
    SpuriousFixed,
    /// The library or a binary fails on both sides.
    BuildFail,
    /// The library and the binaries are fine; a test, an example or a bench fails on both sides.
    TestFail,
    /// The library and the binaries are fine; the rest could not be tried.
    TestSkipped,
    /// Fine on both sides.
    TestPass,
    /// The package itself is unusable.
    Broken,
    /// Its dependencies cannot be had.
    PrepareFail,
    /// Not run, or not comparable by design.
    Skipped,
    /// Not run yet.
    Unknown,
}

impl Verdict {
    /// All verdicts, the most interesting first.
    pub const ALL: [Self; 14] = [
        Self::Regressed,
        Self::Error,
        Self::SpuriousRegressed,
        Self::Flaky,
        Self::Fixed,
        Self::SpuriousFixed,
        Self::BuildFail,
        Self::TestFail,
        Self::TestSkipped,
        Self::TestPass,
        Self::Broken,
        Self::PrepareFail,
        Self::Skipped,
        Self::Unknown,
    ];

    /// The name used in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Error => "error",
            Self::SpuriousRegressed => "spurious-regressed",
            Self::Flaky => "flaky",
            Self::Fixed => "fixed",
            Self::SpuriousFixed => "spurious-fixed",
            Self::BuildFail => "build-fail",
            Self::TestFail => "test-fail",
            Self::TestSkipped => "test-skipped",
            Self::TestPass => "test-pass",
            Self::Broken => "broken",
            Self::PrepareFail => "prepare-fail",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one job says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobVerdict {
    /// The verdict.
    pub verdict: Verdict,
    /// Unit by unit.
    pub units: Vec<UnitComparison>,
    /// Whether the library (or, without one, a binary) could really be compared.
    pub covered: bool,
    /// Codes of warnings of which the candidate has more, where warnings are compared.
    pub new_warnings: BTreeSet<String>,
}

/// Compares the two sides of one job.
pub fn judge_job(record: &JobRecord) -> JobVerdict {
    if let Some(why) = &record.unprepared {
        let verdict = match why {
            Unprepared::Broken { .. } => Verdict::Broken,
            Unprepared::PrepareFail { .. } => Verdict::PrepareFail,
            Unprepared::RustVersion { .. } => Verdict::Skipped,
        };
        return JobVerdict {
            verdict,
            units: Vec::new(),
            covered: false,
            new_warnings: BTreeSet::new(),
        };
    }
    let (baselines, candidates) = deciding_runs(&record.runs);
    let units = units(&baselines, &candidates);
    let (mut new_warnings, mut mended) = (BTreeSet::new(), false);
    if record.compare == Compare::Warnings {
        new_warnings = grown_warnings(&baselines, &candidates);
        mended = !grown_warnings(&candidates, &baselines).is_empty();
    }
    let verdict = match job_verdict(&baselines, &candidates, &units) {
        verdict @ (Verdict::Regressed | Verdict::SpuriousRegressed | Verdict::Flaky) => verdict,
        _ if !new_warnings.is_empty() => Verdict::Regressed,
        _ if mended => Verdict::Fixed,
        Verdict::TestPass if record.tests_skipped => Verdict::TestSkipped,
        verdict => verdict,
    };
    // A limit of the sandbox says nothing of the toolchains.
    let spurious = matches!(verdict, Verdict::SpuriousRegressed | Verdict::SpuriousFixed);
    let scanned = || units.is_empty() && candidates.iter().any(|run| run.scanned());
    JobVerdict {
        verdict,
        covered: (covered(&units) || scanned()) && !spurious,
        units,
        new_warnings,
    }
}

/// Gives the candidate's runs of a record their reason where they pass, and have regressed for new
/// warnings alone.
pub fn name_new_warnings(record: &mut JobRecord) {
    let judged = judge_job(record);
    if judged.new_warnings.is_empty() || judged.verdict != Verdict::Regressed {
        return;
    }
    let passed = record
        .runs
        .iter_mut()
        .filter(|r| r.side == Side::Candidate && r.passed());
    for step in passed.filter_map(|run| run.steps.last_mut()) {
        let codes = judged.new_warnings.clone();
        step.reason = Some(Reason::NewWarnings { codes });
    }
}

/// The runs in one variant of the manifest, as (candidates, baselines).
pub(crate) fn in_variant(runs: &[Run], dev_dependencies: bool) -> (Vec<&Run>, Vec<&Run>) {
    runs.iter()
        .filter(|r| r.dev_dependencies == dev_dependencies)
        .partition(|r| r.side == Side::Candidate)
}

/// The runs that a job's verdict stands on, as (baselines, candidates): those of the last variant
/// of the manifest, unless that one failed as the first had and no unit of it could be compared, in
/// which case the first one says what users see.
pub fn deciding_runs(runs: &[Run]) -> (Vec<&Run>, Vec<&Run>) {
    let last = runs.last().is_some_and(|r| r.dev_dependencies);
    let tried_both = runs.iter().any(|r| r.dev_dependencies != last);
    let (candidates, baselines) = in_variant(runs, last);
    let says_nothing = || {
        let failed = candidates.iter().chain(&baselines).all(|r| !r.passed());
        let units = units(&baselines, &candidates);
        let alike = |v| matches!(v, UnitVerdict::Fail | UnitVerdict::Skipped);
        failed && units.iter().all(|u| alike(u.verdict))
    };
    if tried_both && says_nothing() {
        let (candidates, baselines) = in_variant(runs, !last);
        return (baselines, candidates);
    }
    (baselines, candidates)
}

fn job_verdict(baselines: &[&Run], candidates: &[&Run], units: &[UnitComparison]) -> Verdict {
    let any = |verdict| units.iter().any(|u| u.verdict == verdict);
    let excused = |verdict, bad: &[&Run], good: &[&Run]| {
        let mut units = units.iter().filter(|u| u.verdict == verdict);
        units.all(|u| is_excused(&u.unit, bad, good))
    };
    if any(UnitVerdict::Regressed) {
        return if excused(UnitVerdict::Regressed, candidates, baselines) {
            Verdict::SpuriousRegressed
        } else {
            Verdict::Regressed
        };
    }
    if any(UnitVerdict::Flaky) {
        return Verdict::Flaky;
    }
    if any(UnitVerdict::Fixed) {
        return if excused(UnitVerdict::Fixed, baselines, candidates) {
            Verdict::SpuriousFixed
        } else {
            Verdict::Fixed
        };
    }
    same_on_both(candidates, units)
}

/// Whether a unit was bad for reasons that say nothing of the toolchain, in every bad run: by the
/// words of the tests that failed on this side only, or else by the reason of the step.
fn is_excused(unit: &UnitKey, bad: &[&Run], good: &[&Run]) -> bool {
    let before: BTreeSet<&str> = good
        .iter()
        .filter_map(|run| run.failed_tests(unit))
        .flatten()
        .collect();
    let mut judged = bad.iter().filter_map(|run| run.judgement(unit));
    judged.all(|(status, step)| {
        let named = |d: &&Diagnostic| d.own && d.unit == *unit && d.test.is_some();
        let new = |d: &&Diagnostic| d.test.as_deref().is_some_and(|t| !before.contains(t));
        let tests = || step.diagnostics.iter().filter(named).filter(new);
        let by_words = |d: &Diagnostic| {
            let reason = test_step::reason_of(d);
            reason.is_some_and(|r| r.is_spurious())
        };
        status == UnitStatus::Pass
            || step.reason.as_ref().is_some_and(Reason::is_spurious)
            || tests().next().is_some() && tests().all(by_words)
    })
}

/// The verdict where nothing differs.
fn same_on_both(candidates: &[&Run], units: &[UnitComparison]) -> Verdict {
    let Some(candidate) = candidates.first() else {
        return Verdict::Unknown;
    };
    let primary = || units.iter().filter(|u| u.unit.is_primary());
    if units.is_empty() && matches!(candidate.reason(), Some(Reason::RustVersion { .. })) {
        return Verdict::Skipped;
    }
    if primary().any(|u| u.verdict == UnitVerdict::Fail) {
        Verdict::BuildFail
    } else if primary().next().is_some() && primary().all(|u| u.verdict == UnitVerdict::Skipped) {
        Verdict::Skipped
    } else if units.iter().any(|u| u.verdict == UnitVerdict::Fail) {
        Verdict::TestFail
    } else if !candidate.passed()
        && (stopped_at_limits(candidates) || units.iter().all(|u| u.verdict == UnitVerdict::Pass))
    {
        // What failed never came so far that anything was said of it: a build script that was
        // stopped, a dependency.
        let built = |u: &UnitComparison| u.unit.kind != UnitKind::BuildScript;
        if primary().any(built) {
            Verdict::TestFail
        } else {
            Verdict::BuildFail
        }
    } else {
        Verdict::TestPass
    }
}

/// Whether the library, or every binary where there is none, was really compared.
fn covered(units: &[UnitComparison]) -> bool {
    let of = |kind| {
        units
            .iter()
            .filter(move |u| u.unit.kind == kind && u.unit.is_primary())
    };
    if of(UnitKind::Lib).next().is_some() {
        return of(UnitKind::Lib).all(|u| u.verdict.compared());
    }
    of(UnitKind::Bin).next().is_some() && of(UnitKind::Bin).all(|u| u.verdict.compared())
}

/// The verdict of a crate from that of its tier `lib` and, once that is known, its tier `all`.
pub fn merge_tiers(lib: Verdict, all: Option<Verdict>) -> Verdict {
    use Verdict::{
        Broken, BuildFail, Error, Fixed, Flaky, PrepareFail, Regressed, Skipped, SpuriousFixed,
        SpuriousRegressed, TestFail, TestPass, TestSkipped, Unknown,
    };
    let Some(all) = all else {
        return lib;
    };
    for loud in [
        Regressed,
        Error,
        SpuriousRegressed,
        Flaky,
        Fixed,
        SpuriousFixed,
    ] {
        if lib == loud || all == loud {
            return loud;
        }
    }
    match (lib, all) {
        (TestPass, BuildFail | TestFail) => TestFail,
        (TestPass, Broken | PrepareFail | TestSkipped) => TestSkipped,
        (TestPass, Unknown) => Unknown,
        (TestPass, _) => TestPass,
        (Unknown | Skipped, other) => other,
        (own, _) => own,
    }
}

#[cfg(test)]
#[path = "compare_properties.rs"]
mod properties;
#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
