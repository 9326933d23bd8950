//! What one toolchain did with one crate: runs, steps, units, diagnostics, and why it failed.
//!
//! These are the records that agents produce and coordinators store. They say what happened and
//! draw no conclusion from two sides; that is [`crate::compare`]'s work.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::experiment::Compare;
use crate::limits::{LimitHit, Usage};

pub use crate::unprepared::{Unprepared, UnpreparedReason};

/// The two toolchains of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The toolchain that is known to be good.
    Baseline,
    /// The toolchain under test.
    Candidate,
}

impl Side {
    /// Both, baseline first.
    pub const BOTH: [Self; 2] = [Self::Baseline, Self::Candidate];

    /// `baseline` or `candidate`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Candidate => "candidate",
        }
    }

    /// The other side.
    pub fn other(self) -> Self {
        match self {
            Self::Baseline => Self::Candidate,
            Self::Candidate => Self::Baseline,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kind of a cargo target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitKind {
    /// The library, whatever its crate types; proc-macro libraries too.
    Lib,
    /// A binary.
    Bin,
    /// The build script: built and run before anything else of the package.
    BuildScript,
    /// An integration test.
    Test,
    /// An example.
    Example,
    /// A bench.
    Bench,
    /// The examples in the library's documentation, which `cargo test --doc` runs: one unit.
    #[serde(rename = "doctest")]
    DocTest,
}

impl UnitKind {
    /// The word used in results and pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lib => "lib",
            Self::Bin => "bin",
            Self::BuildScript => "build-script",
            Self::Test => "test",
            Self::Example => "example",
            Self::Bench => "bench",
            Self::DocTest => "doctest",
        }
    }
}

/// One cargo target of the crate, as it is built in one way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitKey {
    /// The kind of target.
    pub kind: UnitKind,
    /// The target's name.
    pub name: String,
    /// Built with the test harness (`cfg(test)`).
    pub harness: bool,
}

impl UnitKey {
    /// Libraries, binaries and build scripts as users build them: what the verdict of a crate and
    /// the coverage stand on. All else is only seen by the crate's own developers.
    pub fn is_primary(&self) -> bool {
        !self.harness
            && matches!(
                self.kind,
                UnitKind::Lib | UnitKind::Bin | UnitKind::BuildScript
            )
    }
}

impl fmt::Display for UnitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.name)?;
        if self.harness
            && !matches!(
                self.kind,
                UnitKind::Test | UnitKind::Bench | UnitKind::DocTest
            )
        {
            f.write_str(" (test)")?;
        }
        Ok(())
    }
}

/// How one unit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitStatus {
    /// Built.
    Pass,
    /// Tried, and failed.
    Fail,
    /// Never tried, because something that it needs failed.
    Blocked,
    /// Uses `#![feature]` (E0554), so a stable or beta compiler refuses it by design: nothing can
    /// be said by comparing it with a nightly one.
    NeedsNightly,
    /// The crate or a dependency asks for a newer Rust than this toolchain (`rust-version`), so
    /// cargo refuses it by design.
    NeedsNewerRust,
}

/// A package by name and version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageRef {
    /// The package's name.
    pub name: String,
    /// Its version, where cargo said it.
    pub version: Option<Version>,
}

impl fmt::Display for PackageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{} {version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// One error of a compiler, or a failed build script, as cargo reported it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diagnostic {
    /// The package in which it happened.
    pub package: PackageRef,
    /// Whether that is the crate under test itself.
    pub own: bool,
    /// The unit of that package.
    pub unit: UnitKey,
    /// The code, such as `E0308` or the name of a denied lint.
    pub code: Option<String>,
    /// The headline, without its code.
    pub message: String,
    /// `file:line` of the primary span.
    pub place: Option<String>,
    /// The whole diagnostic as rustc rendered it, plain text, cut where it is very long.
    pub rendered: String,
    /// Whether the compiler itself crashed.
    pub ice: bool,
    /// The test that failed, where it is one and not a compilation; `code` is `None` then, and
    /// `rendered` what the test had printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
}

/// One unit of the crate under test in one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitOutcome {
    /// Which unit.
    pub unit: UnitKey,
    /// How it ended.
    pub status: UnitStatus,
}

/// How a step's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "kebab-case")]
pub enum StepExit {
    /// It exited by itself, with this status.
    Code(i32),
    /// A signal killed it, and not one of ours.
    Signal(i32),
    /// The sandbox stopped it at a limit.
    Limit(LimitHit),
}

impl StepExit {
    /// Exit status 0.
    pub fn success(self) -> bool {
        matches!(self, Self::Code(0))
    }
}

/// One cargo command in one sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepOutcome {
    /// The step's name in its mode, such as `check`.
    pub step: String,
    /// How the process ended.
    pub exit: StepExit,
    /// The units of the crate that cargo reported on, in the order of their keys.
    pub units: Vec<UnitOutcome>,
    /// The errors, in cargo's order, at most [`MAX_DIAGNOSTICS`].
    pub diagnostics: Vec<Diagnostic>,
    /// Errors beyond that bound.
    pub diagnostics_left_out: u32,
    /// Why it failed; `None` when it succeeded, unless it regressed for new warnings alone.
    pub reason: Option<Reason>,
    /// Warnings about the crate's own code, by code: the name of the lint, or [`NO_CODE`]. The
    /// same warning of several units counts once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub warnings: BTreeMap<String, u32>,
    /// How the tests ended, in a step that runs some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestCounts>,
    /// What it used.
    pub usage: Usage,
}

/// What a warning without a code is counted as.
pub const NO_CODE: &str = "without-code";

/// How many tests ended how, as their harnesses said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestCounts {
    /// Those that passed.
    pub passed: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were not run, because they say so themselves.
    pub ignored: u32,
}

/// How many diagnostics of a step are kept.
pub const MAX_DIAGNOSTICS: usize = 50;

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reason {
    /// The compiler crashed.
    Ice {
        /// While it compiled this package: the crate itself, or a dependency.
        package: PackageRef,
    },
    /// Errors in the crate's own code, with their codes (none when rustc gave none).
    CompilerError {
        /// The codes, such as `E0308`.
        codes: BTreeSet<String>,
    },
    /// Dependencies failed to build.
    DependsOn {
        /// Those that failed themselves.
        packages: BTreeSet<PackageRef>,
    },
    /// The crate's own build script ran and failed.
    BuildScript,
    /// Tests or doctests ran and failed; the diagnostics name them.
    TestsFailed,
    /// Tests that compare the compiler's messages with a copy of them found others.
    CompilerDiagnosticChange,
    /// A test or a build script wants what no sandbox has.
    Environment {
        /// What.
        need: Need,
    },
    /// A library of the system, or the tool that finds it, is not there.
    MissingSystemLibrary {
        /// What was looked for, as the tool or the linker calls it; without its `lib` or `-l`.
        names: BTreeSet<String>,
    },
    /// The crate or a dependency asks for a newer Rust than the toolchain (`rust-version`).
    RustVersion {
        /// Who asks.
        package: PackageRef,
        /// For what, such as `1.85`.
        required: String,
    },
    /// It passes, and has more warnings than with the other toolchain; only where warnings are
    /// compared.
    NewWarnings {
        /// Of which there are more: lints, or [`NO_CODE`].
        codes: BTreeSet<String>,
    },
    /// Everything that failed uses `#![feature]` on a compiler that does not allow it.
    NeedsNightly,
    /// A limit of the sandbox.
    Limit {
        /// Which.
        limit: LimitHit,
    },
    /// None of these.
    Unknown,
}

impl Reason {
    /// Whether the failure says something of the machine or the moment rather than of the
    /// toolchain: never a real regression by itself.
    pub fn is_spurious(&self) -> bool {
        match self {
            Self::Limit { .. } | Self::Environment { .. } | Self::CompilerDiagnosticChange => true,
            Self::Ice { .. }
            | Self::CompilerError { .. }
            | Self::DependsOn { .. }
            | Self::BuildScript
            | Self::TestsFailed
            | Self::MissingSystemLibrary { .. }
            | Self::RustVersion { .. }
            | Self::NewWarnings { .. }
            | Self::NeedsNightly
            | Self::Unknown => false,
        }
    }
}

/// What a test or a build script may want and no sandbox has: where it fails for want of that,
/// nothing is said of the toolchain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Another machine, or a name of one.
    NetworkAccess,
    /// A daemon of Docker or the like.
    Docker,
    /// A port that something else has.
    PortInUse,
    /// To be done within some time.
    Timing,
    /// A terminal.
    Terminal,
    /// A display, or a desktop's bus.
    Display,
    /// A device, or a right that only an administrator has.
    Device,
    /// To write into its own source, which is read-only.
    WritableSource,
    /// Room on a disk: it said so itself, and the sandbox did not stop it.
    NoSpace,
    /// Memory: it said so itself, and the sandbox did not stop it.
    Oom,
}

impl Need {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NetworkAccess,
        Self::Docker,
        Self::PortInUse,
        Self::Timing,
        Self::Terminal,
        Self::Display,
        Self::Device,
        Self::WritableSource,
        Self::NoSpace,
        Self::Oom,
    ];

    /// The name used in results, such as `network-access`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NetworkAccess => "network-access",
            Self::Docker => "docker",
            Self::PortInUse => "port-in-use",
            Self::Timing => "timing",
            Self::Terminal => "terminal",
            Self::Display => "display",
            Self::Device => "device",
            Self::WritableSource => "writable-source",
            Self::NoSpace => "no-space",
            Self::Oom => "oom",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn joined<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
            let all: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
            all.join(", ")
        }
        match self {
            Self::Ice { package } => write!(f, "ice({package})"),
            Self::CompilerError { codes } if codes.is_empty() => f.write_str("compiler-error"),
            Self::CompilerError { codes } => write!(f, "compiler-error({})", joined(codes)),
            Self::DependsOn { packages } => write!(f, "depends-on({})", joined(packages)),
            Self::BuildScript => f.write_str("build-script"),
            Self::TestsFailed => f.write_str("tests-failed"),
            Self::CompilerDiagnosticChange => f.write_str("compiler-diagnostic-change"),
            Self::Environment { need } => f.write_str(need.name()),
            Self::MissingSystemLibrary { names } => {
                write!(f, "missing-system-library({})", joined(names))
            }
            Self::RustVersion { package, required } => {
                write!(f, "rust-version({package} needs {required})")
            }
            Self::NewWarnings { codes } => write!(f, "new-warnings({})", joined(codes)),
            Self::NeedsNightly => f.write_str("needs-nightly"),
            Self::Limit { limit } => f.write_str(limit.name()),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// What one side did in one run: all steps of the mode, in a sandbox of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Which toolchain.
    pub side: Side,
    /// Whether dev-dependencies were in the manifest.
    pub dev_dependencies: bool,
    /// Whether cargo was told to go on after a failure (`--keep-going`, since 1.74).
    pub keep_going: bool,
    /// The steps that were run, in order.
    pub steps: Vec<StepOutcome>,
    /// The name of the log, unique in its job: `1-candidate`.
    pub log: String,
    /// The features that the source names, in mode `unstable-features`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub features: BTreeSet<String>,
}

/// Where a job's lockfile came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockfileOrigin {
    /// The one in the package, as it was or fitted to the manifest.
    Published,
    /// Resolved for this job.
    Fresh,
}

/// A lockfile that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lockfile {
    /// Where it came from.
    pub origin: LockfileOrigin,
    /// Whether dev-dependencies are in it.
    pub dev_dependencies: bool,
    /// Whose it is; `None`: that of both sides, or of the one that has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// SHA-256 of `text`, in hexadecimal.
    pub sha256: String,
    /// The whole file.
    pub text: String,
}

/// The schema of [`JobRecord`] that this version writes.
pub const JOB_RECORD_SCHEMA: u32 = 1;

/// Everything that one job found out: what an agent submits and a store keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRecord {
    /// [`JOB_RECORD_SCHEMA`] at the time of writing.
    pub schema: u32,
    /// Set when nothing could be run.
    pub unprepared: Option<Unprepared>,
    /// What makes a difference.
    #[serde(default)]
    pub compare: Compare,
    /// Whether tests were left out on both sides, as the denylist says.
    #[serde(default)]
    pub tests_skipped: bool,
    /// The lockfiles, the last one being that of the runs that count.
    pub lockfiles: Vec<Lockfile>,
    /// What people should know of how it was prepared, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Where the author says that the repository is: an address of the web.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// All runs, in the order in which they were made.
    pub runs: Vec<Run>,
    /// CPU and wall-clock milliseconds of preparing: resolving, mostly.
    pub preparation: Usage,
}

impl JobRecord {
    /// The record of a crate that could not be tried.
    pub fn unprepared(why: Unprepared, preparation: Usage) -> Self {
        Self {
            schema: JOB_RECORD_SCHEMA,
            unprepared: Some(why),
            compare: Compare::default(),
            tests_skipped: false,
            lockfiles: Vec::new(),
            notes: Vec::new(),
            repository: None,
            runs: Vec::new(),
            preparation,
        }
    }
}
