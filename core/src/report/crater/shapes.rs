//! The shapes of the reference runner's files, as far as they are written: fields in its order,
//! enums in its spelling.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// `results.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestResults {
    /// Every crate, in the order of its identifiers.
    pub crates: Vec<CrateRow>,
}

/// One crate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CrateRow {
    /// For people: `name-version`.
    pub name: String,
    /// Its page.
    pub url: String,
    /// What it is.
    pub krate: Krate,
    /// What came out of comparing both runs.
    pub res: Comparison,
    /// The first toolchain's run, and the second's; `null` where there is no result.
    pub runs: [Option<ToolchainRun>; 2],
}

/// What one toolchain did with a crate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolchainRun {
    /// What came out.
    pub res: TestResult,
    /// The directory of its `log.txt`, as part of an address.
    pub log: String,
}

/// A crate. Of the variants there, `Local` (a crate of its own repository) is never written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Krate {
    /// A release of the registry.
    Registry {
        /// The name.
        name: String,
        /// The full version.
        version: String,
    },
    /// A repository on GitHub.
    GitHub {
        /// The organisation or user.
        org: String,
        /// The repository's name.
        name: String,
        /// The commit.
        sha: Option<String>,
    },
    /// A directory.
    Path(String),
    /// Another git repository.
    Git {
        /// Its address.
        url: String,
        /// The commit.
        sha: Option<String>,
    },
}

/// Declares an enum of words, with their spelling.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident => $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$of])* $variant,)+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)+ })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

words! {
    /// What came out of comparing the two runs of a crate.
    Comparison {
        /// The second toolchain broke it.
        Regressed => "regressed",
        /// The second toolchain mended it.
        Fixed => "fixed",
        /// Not run.
        Skipped => "skipped",
        /// No result.
        Unknown => "unknown",
        /// A failure of the runner.
        Error => "error",
        /// The crate cannot be used.
        Broken => "broken",
        /// Its build could not be prepared.
        PrepareFail => "prepare-fail",
        /// Both fail to build it.
        SameBuildFail => "build-fail",
        /// Its tests fail with both.
        SameTestFail => "test-fail",
        /// Both build it, and its tests are not run.
        SameTestSkipped => "test-skipped",
        /// Fine with both.
        SameTestPass => "test-pass",
        /// Broken by chance.
        SpuriousRegressed => "spurious-regressed",
        /// Mended by chance.
        SpuriousFixed => "spurious-fixed",
    }
}

words! {
    /// How far the experiment is. There are more words there.
    Status {
        /// Some crates have no result.
        Running => "running",
        /// All have.
        Completed => "completed",
    }
}

words! {
    /// Why a crate cannot be used.
    BrokenReason {
        /// None of the others.
        Unknown => "unknown",
        /// Its manifest is not there, or wrong.
        CargoToml => "cargo-toml",
        /// No release of a dependency fits that is not yanked.
        Yanked => "yanked",
        /// A dependency is not there.
        MissingDependencies => "missing-deps",
        /// Its repository, or that of a dependency, is not there for everybody.
        MissingGitRepository => "missing-git-repository",
    }
}

/// What one toolchain did with a crate, written as `word` or `word:reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestResult {
    /// It cannot be used.
    BrokenCrate(BrokenReason),
    /// Its build could not be prepared.
    PrepareFail(FailureReason),
    /// It does not build.
    BuildFail(FailureReason),
    /// Its tests fail.
    TestFail(FailureReason),
    /// It builds, and its tests are not run.
    TestSkipped,
    /// Fine.
    TestPass,
    /// Not run.
    Skipped,
    /// A failure of the runner.
    Error,
}

impl fmt::Display for TestResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokenCrate(reason) => write!(f, "broken:{reason}"),
            Self::PrepareFail(reason) => write!(f, "prepare-fail:{reason}"),
            Self::BuildFail(reason) => write!(f, "build-fail:{reason}"),
            Self::TestFail(reason) => write!(f, "test-fail:{reason}"),
            Self::TestSkipped => f.write_str("test-skipped"),
            Self::TestPass => f.write_str("test-pass"),
            Self::Skipped => f.write_str("skipped"),
            Self::Error => f.write_str("error"),
        }
    }
}

impl Serialize for TestResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureReason {
    /// None of the others.
    Unknown,
    /// Out of memory.
    Oom,
    /// Out of disk space.
    NoSpace,
    /// Out of time.
    Timeout,
    /// The compiler crashed.
    Ice,
    /// It wants a network.
    NetworkAccess,
    /// Something about Docker.
    Docker,
    /// The compiler's messages are others than its tests want.
    CompilerDiagnosticChange,
    /// Errors with these codes, at least one.
    CompilerError(Vec<String>),
    /// Dependencies fail, by their identifiers, at least one.
    DependsOn(Vec<String>),
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Oom => f.write_str("oom"),
            Self::NoSpace => f.write_str("no-space"),
            Self::Timeout => f.write_str("timeout"),
            Self::Ice => f.write_str("ice"),
            Self::NetworkAccess => f.write_str("network-access"),
            Self::Docker => f.write_str("docker"),
            Self::CompilerDiagnosticChange => f.write_str("compiler-diagnostic-change"),
            Self::CompilerError(codes) => write!(f, "compiler-error({})", codes.join(", ")),
            Self::DependsOn(crates) => write!(f, "depends-on({})", crates.join(", ")),
        }
    }
}

/// `config.json`: an experiment as it is kept there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// The toolchain that is known to be good, and the one under test.
    pub toolchains: [Toolchain; 2],
    /// What is done with each crate.
    pub mode: String,
    /// The cap on lints.
    pub cap_lints: String,
    /// Its place in a queue; always 0.
    pub priority: i32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Where it was asked for; never set.
    pub github_issue: Option<()>,
    /// How far it is.
    pub status: Status,
    /// Who runs it; never set.
    pub assigned_to: Option<()>,
    /// Where its report is; never set.
    pub report_url: Option<String>,
    /// Whether exclusions are ignored; never.
    pub ignore_blacklist: bool,
    /// What an agent must have to run it; never set.
    pub requirement: Option<String>,
}

/// A toolchain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Toolchain {
    /// Where it comes from.
    pub source: ToolchainSource,
    /// What it compiles for, where that is not the host.
    pub target: Option<String>,
    /// Flags for rustc.
    pub rustflags: Option<String>,
    /// Flags for rustdoc.
    pub rustdocflags: Option<String>,
    /// Flags for cargo.
    pub cargoflags: Option<String>,
    /// Whether a commit is that of a try build.
    pub ci_try: bool,
    /// Dependencies put in place of others.
    pub patches: Vec<Patch>,
}

/// As its own grammar has it.
impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            ToolchainSource::Dist { name } => f.write_str(name)?,
            ToolchainSource::Ci { sha, .. } if self.ci_try => write!(f, "try#{sha}")?,
            ToolchainSource::Ci { sha, .. } => write!(f, "master#{sha}")?,
        }
        let modifiers = [
            ("target", &self.target),
            ("rustflags", &self.rustflags),
            ("rustdocflags", &self.rustdocflags),
            ("cargoflags", &self.cargoflags),
        ];
        for (key, value) in modifiers {
            if let Some(value) = value {
                write!(f, "+{key}={value}")?;
            }
        }
        for Patch { name, repo, branch } in &self.patches {
            write!(f, "+patch={name}={repo}={branch}")?;
        }
        Ok(())
    }
}

/// Where a toolchain comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToolchainSource {
    /// What rustup installs, by its name.
    Dist {
        /// The name.
        name: String,
    },
    /// What was built for a commit.
    Ci {
        /// The commit.
        sha: String,
        /// With more assertions; never set.
        alt: bool,
    },
}

/// A dependency in place of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Patch {
    /// The dependency's name.
    pub name: String,
    /// The repository that replaces it.
    pub repo: String,
    /// The branch of it.
    pub branch: String,
}
