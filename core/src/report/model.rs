//! The model of a report, which is `results.json`: what is persisted, published, read back and
//! rendered. It is versioned; [`SCHEMA`] goes up when an old reader would misread a new file.
//!
//! Durations are in milliseconds, sizes in bytes, paths relative to the report's directory.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::cluster::history::Known;
use crate::cluster::{CauseKind, ClusterId};
use crate::compare::{UnitComparison, Verdict};
use crate::denylist::DenylistUsed;
use crate::experiment::{BaselineRuns, CapLints, Compare, ExperimentName, LockfilePolicy};
use crate::krate::{CrateId, CrateName, Source};
use crate::limits::{LimitStop, Limits};
use crate::mode::{Mode, Scope};
use crate::outcome::{
    LockfileOrigin, PackageRef, Reason, Side, TestCounts, UnitKey, UnitOutcome, UnpreparedReason,
};
use crate::overrides::LimitOverrides;
use crate::toolchain::ToolchainSpec;

pub use super::build::model;

/// The schema that this version writes.
pub const SCHEMA: u32 = 1;

/// Why text is no `results.json` of this version.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// Not JSON, or a field that the schema does not have, or lacks one.
    #[error("not the results of an experiment: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Written by another version.
    #[error("results of schema {found}, and this version of ejecta reads schema {SCHEMA}")]
    Schema {
        /// The schema of the file.
        found: u64,
    },
}

/// A whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// [`SCHEMA`] at the time of writing.
    pub schema: u32,
    /// What was compared.
    pub experiment: ExperimentInfo,
    /// Crates by verdict; every verdict is there, with 0 where no crate has it.
    pub totals: BTreeMap<Verdict, u32>,
    /// The share of the selected crates, skipped ones included, for which the library (or, without
    /// one, the binaries) could really be compared: 0 to 1. 0 where nothing was selected.
    pub coverage: f64,
    /// The other crates, in the order of the plan.
    pub not_covered: Vec<NotCovered>,
    /// Root causes of regressions, the one with the most crates first.
    pub clusters: Vec<ClusterResult>,
    /// Every selected crate, in the order of the plan.
    pub crates: Vec<CrateResult>,
    /// Counts of requests to the registry, as the registry client keeps them.
    pub registry: Option<serde_json::Value>,
}

/// What was compared, with what, how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentInfo {
    /// The experiment's name.
    pub name: ExperimentName,
    /// The selection as it was written.
    pub selection: String,
    /// The toolchain that is known to be good.
    pub baseline: Toolchain,
    /// The toolchain under test.
    pub candidate: Toolchain,
    /// What was done with each crate.
    pub mode: Mode,
    /// What part of each crate.
    pub scope: Scope,
    /// The order of the plan.
    pub seed: u64,
    /// Which lockfile.
    pub lockfile: LockfilePolicy,
    /// When the baseline runs.
    pub baseline_runs: BaselineRuns,
    /// The cap on lints.
    pub cap_lints: CapLints,
    /// What makes a difference.
    #[serde(default)]
    pub compare: Compare,
    /// How often a difference is run again before it counts.
    pub confirmations: u32,
    /// Bounds of every step.
    pub limits: Limits,
    /// The registry of the crates.
    #[serde(default)]
    pub registry: Option<RegistryInfo>,
    /// Which state of the registry the crates were chosen from: the time of its database dump, or
    /// `index` where they were asked for one by one. `null` where no registry was needed.
    #[serde(default)]
    pub snapshot: Option<String>,
    /// The sandbox, for people.
    pub sandbox: Option<String>,
    /// The userland inside Docker, where it is an image.
    #[serde(default)]
    pub image: Option<String>,
    /// The OCI runtime of the containers, where it is not the daemon's own choice.
    #[serde(default)]
    pub runtime: Option<String>,
    /// The file of the denylist as it was named, where it is not the one that comes with ejecta.
    #[serde(default)]
    pub denylist: Option<String>,
    /// Which denylist counted. `null` where it is not known.
    #[serde(default)]
    pub denylist_used: Option<DenylistUsed>,
    /// When the experiment was created.
    #[serde(default)]
    pub created: Option<Timestamp>,
    /// When the experiment first started to run.
    pub started: Option<Timestamp>,
    /// When its last job ended.
    pub finished: Option<Timestamp>,
    /// Whether every crate that is to be run has a result in every tier: no job is unfinished, and
    /// none was given up for an error of ours.
    pub complete: bool,
}

/// A registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryInfo {
    /// The address of its index.
    pub index: String,
    /// Whether that is the public registry, which needs no `--registry`.
    pub public: bool,
    /// Where its pages are, as far as that is known: crates have theirs at
    /// `<web>/crates/<name>/<version>`.
    pub web: Option<String>,
}

/// One of the two toolchains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// As it was written.
    pub spec: ToolchainSpec,
    /// The whole output of `rustc -Vv`, once known.
    pub rustc: Option<String>,
    /// The whole output of `cargo -Vv`, once known.
    pub cargo: Option<String>,
}

impl Toolchain {
    /// The first line of `rustc -Vv`.
    pub fn summary(&self) -> &str {
        let line = self.rustc.as_deref().and_then(|text| text.lines().next());
        line.unwrap_or("version unknown")
    }
}

/// A crate that does not count for the coverage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotCovered {
    /// The crate, as in [`CrateResult::id`].
    pub id: CrateId,
    /// Why, for people.
    pub why: String,
}

/// One root cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterResult {
    /// Its identity: equal causes have equal ones in all experiments.
    pub id: ClusterId,
    /// What kind of thing went wrong.
    #[serde(default)]
    pub kind: CauseKind,
    /// The normalised message.
    pub signature: String,
    /// The code of the error.
    pub code: Option<String>,
    /// The file in the package that fails, or for a crash the file of the compiler; `null` where
    /// the crates have none in common.
    #[serde(default)]
    pub place: Option<String>,
    /// The package that fails; `null` where many crates fail in themselves for one cause.
    pub root: Option<PackageRef>,
    /// The regressed crates for which it is the first cause, in the order of the plan.
    pub crates: Vec<CrateId>,
    /// Regressed crates of other clusters that have this cause too, in the order of the plan.
    #[serde(default)]
    pub also: Vec<CrateId>,
    /// Clusters that look like the same cause in another package or version, largest first.
    #[serde(default)]
    pub related: Vec<ClusterId>,
    /// How many crates depend directly on any of its crates, by their newest releases; `null` where
    /// nobody counted.
    pub dependents: Option<u64>,
    /// How often its crates were downloaded, in sum; `null` where nobody counted.
    #[serde(default)]
    pub downloads: Option<u64>,
    /// The error in one of the crates, as rustc rendered it.
    pub rendered: Option<String>,
}

impl ClusterResult {
    /// What fails, for people: `time 0.3.34`.
    pub fn root_text(&self) -> String {
        match &self.root {
            Some(root) => root.to_string(),
            None if self.kind == CauseKind::Ice => "the compiler".to_owned(),
            None => "each crate itself".to_owned(),
        }
    }

    /// What [`crate::cluster::history`] compares.
    pub fn known(&self) -> Known {
        Known {
            id: self.id.clone(),
            kind: self.kind,
            root: self.root.clone(),
            code: self.code.clone(),
            signature: self.signature.clone(),
            place: self.place.clone(),
        }
    }
}

/// One crate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrateResult {
    /// `name-version`, unique in the experiment.
    pub id: CrateId,
    /// The name in the author's spelling.
    pub name: CrateName,
    /// The full version.
    pub version: Version,
    /// Where the source is.
    pub source: Source,
    /// Where the author says that the repository is: an address of the web.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The verdict over all tiers.
    pub verdict: Verdict,
    /// Whether it counts for the coverage.
    pub covered: bool,
    /// What the baseline did; `null` where it did not run. Taken, like `candidate` and `units`,
    /// from the first tier that has the crate's verdict, else from the last one.
    pub baseline: Option<SideResult>,
    /// What the candidate did.
    pub candidate: Option<SideResult>,
    /// The comparison unit by unit.
    pub units: Vec<UnitComparison>,
    /// The cluster of a regressed crate.
    pub cluster: Option<ClusterId>,
    /// SHA-256 of the lockfile that both sides used.
    pub lockfile_sha256: Option<String>,
    /// How often its jobs were granted; the most of any tier. More than 1 means retries.
    pub attempts: u32,
    /// The reason in the denylist of a crate that was not run.
    pub skip: Option<String>,
    /// The bounds of its steps that are not the experiment's; `null` where there are none. Only
    /// what differs is there.
    pub limits: Option<LimitOverrides>,
    /// What is wrong with a crate that is `broken`, `prepare-fail` or an `error`.
    pub message: Option<String>,
    /// What kind of fault `message` tells of, where it is the crate's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<UnpreparedReason>,
    /// Tier by tier, in their order; empty for a crate that is not run.
    pub tiers: Vec<TierResult>,
}

/// What one side did with a crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SideOutcome {
    /// All units were built.
    TestPass,
    /// The library and the binaries were built, and something else failed.
    TestFail,
    /// The library, a binary or the build script failed, or nothing was reached.
    BuildFail,
    /// It uses `#![feature]`, or asks for a newer Rust, and this toolchain refuses that by design.
    Skipped,
}

impl SideOutcome {
    /// The name used in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::TestPass => "test-pass",
            Self::TestFail => "test-fail",
            Self::BuildFail => "build-fail",
            Self::Skipped => "skipped",
        }
    }
}

/// One side of a crate: outcome, reason, units, error and log are those of its first run that
/// failed, or else of its first run; the costs are of all its runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideResult {
    /// How it ended.
    pub outcome: SideOutcome,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// The limit that stopped it, where one did.
    pub limit: Option<LimitStop>,
    /// Every unit of the crate that any run spoke of, as this run left it.
    pub units: Vec<UnitOutcome>,
    /// The error that says most.
    pub error: Option<ErrorLine>,
    /// How often it ran, in all tiers.
    pub runs: u32,
    /// Wall-clock time of all its runs.
    pub duration_ms: u64,
    /// CPU time of all its runs, where it could be measured.
    pub cpu_ms: Option<u64>,
    /// The log: `logs/<id>/<tier>-<name>.log`.
    pub log: Option<String>,
}

/// An error of a compiler, in short. Control characters are written out as `\u{..}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorLine {
    /// The package in which it happened.
    pub package: PackageRef,
    /// The unit of that package.
    pub unit: UnitKey,
    /// The code, such as `E0308`.
    pub code: Option<String>,
    /// The first line of the message.
    pub message: String,
    /// `file:line`.
    pub place: Option<String>,
    /// The test that failed, where it is one and not a compilation.
    #[serde(default)]
    pub test: Option<String>,
}

/// One tier of a crate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierResult {
    /// Which.
    pub tier: Scope,
    /// The verdict of this tier alone.
    pub verdict: Verdict,
    /// Whether it counts for the coverage.
    pub covered: bool,
    /// How often its job was granted.
    pub attempts: u32,
    /// The comparison unit by unit.
    pub units: Vec<UnitComparison>,
    /// The lockfile of the runs that count.
    pub lockfile: Option<LockfileInfo>,
    /// What preparing cost: resolving, mostly.
    pub preparation: Option<Cost>,
    /// All runs, in the order in which they were made.
    pub runs: Vec<RunResult>,
    /// What is wrong where nothing could be run.
    pub message: Option<String>,
    /// What kind of fault that is, where it is the crate's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<UnpreparedReason>,
    /// What people should know of how it was prepared, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Which lockfile was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockfileInfo {
    /// Where it came from.
    pub origin: LockfileOrigin,
    /// Whether dev-dependencies are in it.
    pub dev_dependencies: bool,
    /// SHA-256.
    pub sha256: String,
    /// SHA-256 of the lockfiles of sides that have one of their own, because of a patch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own: BTreeMap<Side, String>,
}

/// Time and space. Times are sums, the others the most of any step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Wall-clock time.
    pub duration_ms: u64,
    /// CPU time, where it could be measured.
    pub cpu_ms: Option<u64>,
    /// Peak memory, where it could be measured.
    pub peak_memory_bytes: Option<u64>,
    /// Bytes in the writable directories at the end, where they could be measured.
    pub disk_bytes: Option<u64>,
    /// Files and directories there, where they could be counted.
    pub disk_inodes: Option<u64>,
    /// Bytes of output seen, before any cut.
    pub output_bytes: u64,
}

/// One run of one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResult {
    /// Which toolchain.
    pub side: Side,
    /// Whether dev-dependencies were in the manifest.
    pub dev_dependencies: bool,
    /// Whether every step succeeded.
    pub passed: bool,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// The limit that stopped it, where one did, with its value and how far it came.
    pub limit: Option<LimitStop>,
    /// What it cost.
    pub cost: Cost,
    /// The `#![feature]`s that the source names, in mode `unstable-features`.
    #[serde(default)]
    pub features: BTreeSet<String>,
    /// Its steps, in the order in which they ran.
    #[serde(default)]
    pub steps: Vec<StepResult>,
    /// The log.
    pub log: Option<String>,
}

/// One cargo command of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepResult {
    /// The step's name in its mode, such as `test-build`.
    pub step: String,
    /// Whether it succeeded.
    pub passed: bool,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// The units of the crate that it spoke of.
    pub units: Vec<UnitOutcome>,
    /// Warnings about the crate's own code, by code.
    pub warnings: BTreeMap<String, u32>,
    /// How the tests ended, in a step that runs some.
    pub tests: Option<TestCounts>,
    /// The tests that failed, as far as they are named. Control characters are written out.
    pub failed_tests: Vec<String>,
    /// Wall-clock time.
    pub duration_ms: u64,
    /// CPU time, where it could be measured.
    pub cpu_ms: Option<u64>,
}

impl Results {
    /// The text of `results.json`: indented, with a newline at the end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("every key of the model is text and every number is finite");
        text.push('\n');
        text
    }

    /// The text of `results.json` in two parts, between which the crates stand: each as
    /// [`CrateResult::to_json`] writes it, with `,` after all but the last.
    pub fn json_around(&self) -> (String, String) {
        let without = Self {
            crates: Vec::new(),
            ..self.clone()
        };
        let text = without.to_json();
        let at = text
            .rfind("\n  \"crates\": []")
            .expect("the field is there, and nothing deeper is indented so little");
        let end = at + "\n  \"crates\": []".len();
        let head = format!("{}\n  \"crates\": [\n", &text[..at]);
        (head, format!("  ]{}", &text[end..]))
    }

    /// Reads `results.json`.
    ///
    /// # Errors
    /// [`ResultsError`] when it is no such file, or one of another schema.
    pub fn parse(text: &str) -> Result<Self, ResultsError> {
        #[derive(Deserialize)]
        struct Versioned {
            schema: u64,
        }
        let Versioned { schema } = serde_json::from_str(text)?;
        if schema != u64::from(SCHEMA) {
            return Err(ResultsError::Schema { found: schema });
        }
        Ok(serde_json::from_str(text)?)
    }

    /// How many crates have `verdict`.
    pub fn total(&self, verdict: Verdict) -> u32 {
        self.totals.get(&verdict).copied().unwrap_or(0)
    }

    /// The crates with `verdict`, in the order of the plan.
    pub fn with_verdict(&self, verdict: Verdict) -> impl Iterator<Item = &CrateResult> {
        self.crates.iter().filter(move |c| c.verdict == verdict)
    }
}

impl CrateResult {
    /// The crate as it stands in `results.json`, indented, without a newline at the end.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self)
            .expect("every key of the model is text and every number is finite");
        // A line break in a text is written as `\n`: all that are there are of the layout.
        format!("    {}", text.replace('\n', "\n    "))
    }

    /// What `side` did.
    pub fn side(&self, side: Side) -> Option<&SideResult> {
        match side {
            Side::Baseline => self.baseline.as_ref(),
            Side::Candidate => self.candidate.as_ref(),
        }
    }

    /// The error of the side that failed: the candidate's, or else the baseline's.
    pub fn error(&self) -> Option<&ErrorLine> {
        let candidate = self.candidate.as_ref().and_then(|s| s.error.as_ref());
        candidate.or_else(|| self.baseline.as_ref().and_then(|s| s.error.as_ref()))
    }
}
