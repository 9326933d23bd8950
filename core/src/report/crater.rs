//! The files of the reference runner, made from a report, so that whatever reads those can read
//! ours: `results.json`, `config.json`, `retry-regressed-list.txt`, and the logs they name.
//!
//! Names and shapes are those that its own report generator writes; `docs/crater-json.md` says for
//! every field where it comes from, and what differs by nature. All here is text; copying logs is
//! done by the caller.

mod names;
mod shapes;

use std::fmt::Write as _;

use jiff::Timestamp;

use super::model::{CrateResult, ExperimentInfo, Results, SideOutcome, SideResult};
use super::words;
use crate::compare::Verdict;
use crate::limits::LimitHit;
use crate::mode::{Mode, Scope};
use crate::outcome::{Need, PackageRef, Reason, Side, UnpreparedReason};

pub use names::{LogPath, log_path};
pub use shapes::{
    BrokenReason, Comparison, Config, CrateRow, FailureReason, Krate, Patch, Status, TestResult,
    TestResults, Toolchain, ToolchainRun, ToolchainSource,
};

/// The file names, as the reference runner has them.
pub const RESULTS: &str = "results.json";
/// See [`RESULTS`].
pub const CONFIG: &str = "config.json";
/// See [`RESULTS`].
pub const RETRY: &str = "retry-regressed-list.txt";

/// Everything that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// `results.json`.
    pub results: TestResults,
    /// `config.json`.
    pub config: Config,
    /// `retry-regressed-list.txt`.
    pub retry: String,
    /// The logs, in the order of the results.
    pub logs: Vec<Log>,
}

/// One log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Where it goes, below the directory of the files, with `/` between its parts.
    pub to: String,
    /// What is in it.
    pub from: LogSource,
}

/// What is in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSource {
    /// The file at this path, relative to the report.
    File(String),
    /// This text: nothing was run.
    Text(String),
}

impl Export {
    /// The text of `results.json`, on one line as the reference runner writes it.
    pub fn results_json(&self) -> String {
        serde_json::to_string(&self.results).expect("every key is text")
    }

    /// The text of `config.json`, likewise.
    pub fn config_json(&self) -> String {
        serde_json::to_string(&self.config).expect("every key is text")
    }
}

/// Makes the files from a report.
pub fn export(results: &Results) -> Export {
    let mut rows: Vec<(String, &CrateResult)> = Vec::with_capacity(results.crates.len());
    rows.extend(results.crates.iter().map(|k| (names::crate_id(k), k)));
    // The reference runner sorts by its identifiers.
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let mut logs = Vec::new();
    let crates = rows
        .iter()
        .map(|(_, krate)| row(&results.experiment, krate, &mut logs))
        .collect();
    let results_file = TestResults { crates };
    Export {
        retry: retry_list(&results_file),
        config: config(&results.experiment),
        results: results_file,
        logs,
    }
}

fn row(experiment: &ExperimentInfo, krate: &CrateResult, logs: &mut Vec<Log>) -> CrateRow {
    let run = |side| {
        let res = test_result(krate, side, experiment)?;
        let path = log_path(experiment, krate, side);
        let from = match krate.side(side) {
            Some(result) => result.log.clone().map(LogSource::File),
            None => Some(LogSource::Text(without_run(krate))),
        };
        let log = from.map(|from| Log {
            to: path.file,
            from,
        });
        let run = ToolchainRun {
            res,
            log: path.address,
        };
        Some((run, log))
    };
    let runs = Side::BOTH.map(run).map(|made| {
        made.map(|(run, log)| {
            logs.extend(log);
            run
        })
    });
    CrateRow {
        name: names::crate_name(krate),
        url: names::crate_url(experiment, krate),
        krate: names::krate(krate),
        res: comparison(krate, experiment),
        runs,
    }
}

/// The log of a crate of which nothing could be run.
fn without_run(krate: &CrateResult) -> String {
    let mut text = format!("{}: {}\n", krate.verdict, words::meaning(krate.verdict));
    if let Some(message) = krate.message.as_ref().or(krate.skip.as_ref()) {
        let _ = writeln!(text, "{message}");
    }
    text
}

/// The word for the comparison of both sides.
///
/// A crate that did not do the same twice has no word of its own there: it differs by chance, which
/// is what the spurious ones say.
pub fn comparison(krate: &CrateResult, experiment: &ExperimentInfo) -> Comparison {
    match krate.verdict {
        Verdict::Regressed => Comparison::Regressed,
        Verdict::Fixed => Comparison::Fixed,
        Verdict::SpuriousRegressed => Comparison::SpuriousRegressed,
        Verdict::SpuriousFixed => Comparison::SpuriousFixed,
        Verdict::Flaky if failed(krate.candidate.as_ref()) => Comparison::SpuriousRegressed,
        Verdict::Flaky => Comparison::SpuriousFixed,
        Verdict::BuildFail => Comparison::SameBuildFail,
        Verdict::TestFail => Comparison::SameTestFail,
        Verdict::TestSkipped => Comparison::SameTestSkipped,
        Verdict::TestPass if tests_are_left_out(experiment) => Comparison::SameTestSkipped,
        Verdict::TestPass => Comparison::SameTestPass,
        Verdict::Broken => Comparison::Broken,
        Verdict::PrepareFail => match unprepared(krate) {
            TestResult::BrokenCrate(_) => Comparison::Broken,
            _ => Comparison::PrepareFail,
        },
        Verdict::Skipped => Comparison::Skipped,
        Verdict::Error => Comparison::Error,
        Verdict::Unknown => Comparison::Unknown,
    }
}

fn failed(side: Option<&SideResult>) -> bool {
    side.is_some_and(|side| match side.outcome {
        SideOutcome::BuildFail | SideOutcome::TestFail => true,
        SideOutcome::TestPass | SideOutcome::Skipped => false,
    })
}

/// Whether a crate that passes is called `test-skipped`: what is there for testing was not run. The
/// modes that test nothing by their nature say `test-pass`.
fn tests_are_left_out(experiment: &ExperimentInfo) -> bool {
    match experiment.mode {
        Mode::BuildAndTest => experiment.scope == Scope::Lib,
        Mode::BuildOnly => true,
        Mode::CheckOnly | Mode::Clippy | Mode::Rustdoc | Mode::Fix | Mode::UnstableFeatures => {
            false
        }
    }
}

/// What one side did with a crate; `None` where it has no result.
pub fn test_result(
    krate: &CrateResult,
    side: Side,
    experiment: &ExperimentInfo,
) -> Option<TestResult> {
    if let Some(result) = krate.side(side) {
        let untested = krate.verdict == Verdict::TestSkipped || tests_are_left_out(experiment);
        return Some(of_side(result, untested));
    }
    if krate.skip.is_some() {
        return None;
    }
    match krate.verdict {
        // The fault is the crate's, on both sides alike.
        Verdict::Broken | Verdict::PrepareFail => Some(unprepared(krate)),
        // And this one ours.
        Verdict::Error => Some(TestResult::Error),
        Verdict::Regressed
        | Verdict::Fixed
        | Verdict::SpuriousRegressed
        | Verdict::SpuriousFixed
        | Verdict::Flaky
        | Verdict::BuildFail
        | Verdict::TestFail
        | Verdict::TestSkipped
        | Verdict::TestPass
        | Verdict::Skipped
        | Verdict::Unknown => None,
    }
}

/// The word for a crate that could not be tried. What is wrong with its dependencies makes it
/// `broken` there, where we say `prepare-fail`.
fn unprepared(krate: &CrateResult) -> TestResult {
    let reason = krate.reason.unwrap_or_default();
    let broken = match reason {
        UnpreparedReason::CargoToml => BrokenReason::CargoToml,
        // Both are the same words of cargo's to it.
        UnpreparedReason::Yanked | UnpreparedReason::NoMatchingVersion => BrokenReason::Yanked,
        UnpreparedReason::MissingDeps => BrokenReason::MissingDependencies,
        UnpreparedReason::MissingGitRepository => BrokenReason::MissingGitRepository,
        _ if krate.verdict == Verdict::Broken => BrokenReason::Unknown,
        UnpreparedReason::Limit { limit } => return TestResult::PrepareFail(of_limit(limit)),
        UnpreparedReason::Archive
        | UnpreparedReason::VersionConflict
        | UnpreparedReason::Lockfile
        | UnpreparedReason::Unknown => return TestResult::PrepareFail(FailureReason::Unknown),
    };
    TestResult::BrokenCrate(broken)
}

fn of_side(result: &SideResult, untested: bool) -> TestResult {
    let reason = || {
        result
            .reason
            .as_ref()
            .map_or(FailureReason::Unknown, failure_reason)
    };
    match result.outcome {
        SideOutcome::TestPass if untested => TestResult::TestSkipped,
        SideOutcome::TestPass => TestResult::TestPass,
        SideOutcome::TestFail => TestResult::TestFail(reason()),
        SideOutcome::BuildFail => TestResult::BuildFail(reason()),
        SideOutcome::Skipped => TestResult::Skipped,
    }
}

/// The nearest word for a reason.
pub fn failure_reason(reason: &Reason) -> FailureReason {
    match reason {
        Reason::Ice { .. } => FailureReason::Ice,
        Reason::CompilerError { codes } => compiler_error(codes.iter().map(String::as_str)),
        Reason::DependsOn { packages } => depends_on(packages),
        // What rustc says of it.
        Reason::NeedsNightly => compiler_error(["E0554"]),
        // A new lint is tested there by denying it, which makes an error with its name as the code.
        Reason::NewWarnings { codes } => compiler_error(codes.iter().map(String::as_str)),
        Reason::CompilerDiagnosticChange => FailureReason::CompilerDiagnosticChange,
        Reason::Environment { need } => of_need(*need),
        Reason::Limit { limit } => of_limit(*limit),
        Reason::BuildScript
        | Reason::TestsFailed
        | Reason::MissingSystemLibrary { .. }
        | Reason::RustVersion { .. }
        | Reason::Unknown => FailureReason::Unknown,
    }
}

fn of_limit(limit: LimitHit) -> FailureReason {
    match limit {
        LimitHit::Oom => FailureReason::Oom,
        // Time without output is a timeout there, and so is time without progress.
        LimitHit::Timeout | LimitHit::NoProgress => FailureReason::Timeout,
        LimitHit::NoSpace => FailureReason::NoSpace,
        LimitHit::TooMuchOutput | LimitHit::Pids => FailureReason::Unknown,
    }
}

fn of_need(need: Need) -> FailureReason {
    match need {
        // An address in use is a matter of the network there.
        Need::NetworkAccess | Need::PortInUse => FailureReason::NetworkAccess,
        Need::Docker => FailureReason::Docker,
        Need::Timing => FailureReason::Timeout,
        Need::NoSpace => FailureReason::NoSpace,
        Need::Oom => FailureReason::Oom,
        Need::Terminal | Need::Display | Need::Device | Need::WritableSource => {
            FailureReason::Unknown
        }
    }
}

/// The codes that can stand between `(`, `, ` and `)`; without any there is nothing to say.
fn compiler_error<'a>(codes: impl IntoIterator<Item = &'a str>) -> FailureReason {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-');
    let fits = |code: &&str| !code.is_empty() && code.chars().all(plain);
    let codes: Vec<String> = codes.into_iter().filter(fits).map(str::to_owned).collect();
    if codes.is_empty() {
        FailureReason::Unknown
    } else {
        FailureReason::CompilerError(codes)
    }
}

/// The dependencies whose version cargo told: without one they have no identifier there.
fn depends_on<'a>(packages: impl IntoIterator<Item = &'a PackageRef>) -> FailureReason {
    let ids: Vec<String> = packages
        .into_iter()
        .filter_map(|p| {
            let version = p.version.as_ref()?;
            Some(names::release_id(&p.name, &version.to_string()))
        })
        .collect();
    if ids.is_empty() {
        FailureReason::Unknown
    } else {
        FailureReason::DependsOn(ids)
    }
}

/// The list that its own `crates=` takes: names without versions, since that is all it reads.
fn retry_list(results: &TestResults) -> String {
    let mut list = String::new();
    for row in &results.crates {
        let wanted = match row.res {
            Comparison::Regressed | Comparison::SpuriousRegressed | Comparison::PrepareFail => true,
            Comparison::Fixed
            | Comparison::Skipped
            | Comparison::Unknown
            | Comparison::Error
            | Comparison::Broken
            | Comparison::SameBuildFail
            | Comparison::SameTestFail
            | Comparison::SameTestSkipped
            | Comparison::SameTestPass
            | Comparison::SpuriousFixed => false,
        };
        let _ = match &row.krate {
            _ if !wanted => Ok(()),
            Krate::Registry { name, .. } => writeln!(list, "{name}"),
            Krate::GitHub { org, name, .. } => writeln!(list, "{org}/{name}"),
            Krate::Path(_) | Krate::Git { .. } => Ok(()),
        };
    }
    list
}

fn config(experiment: &ExperimentInfo) -> Config {
    let e = experiment;
    let created = e.created.or(e.started).or(e.finished);
    Config {
        name: e.name.to_string(),
        toolchains: [&e.baseline, &e.candidate].map(|t| names::toolchain(&t.spec)),
        mode: e.mode.name().to_owned(),
        cap_lints: e.cap_lints.name().to_owned(),
        priority: 0,
        created_at: created.unwrap_or(Timestamp::UNIX_EPOCH),
        started_at: e.started,
        completed_at: e.finished.filter(|_| e.complete),
        github_issue: None,
        status: if e.complete {
            Status::Completed
        } else {
            Status::Running
        },
        assigned_to: None,
        report_url: None,
        ignore_blacklist: false,
        requirement: None,
    }
}
