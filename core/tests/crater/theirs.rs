//! The shapes of the reference runner, in its order and spelling. Nothing here is shared with what
//! writes the files.

use std::collections::BTreeSet;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTestResults {
    pub crates: Vec<CrateResult>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrateResult {
    pub name: String,
    pub url: String,
    pub krate: Crate,
    pub status: Option<String>,
    pub res: Comparison,
    pub runs: [Option<BuildTestResult>; 2],
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildTestResult {
    pub res: TestResult,
    pub log: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Crate {
    Registry(RegistryCrate),
    GitHub(GitHubRepo),
    Local(String),
    Path(String),
    Git(GitRepo),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryCrate {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitHubRepo {
    pub org: String,
    pub name: String,
    pub sha: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitRepo {
    pub url: String,
    pub sha: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    Regressed,
    Fixed,
    Skipped,
    Unknown,
    Error,
    Broken,
    PrepareFail,
    #[serde(rename = "build-fail")]
    SameBuildFail,
    #[serde(rename = "test-fail")]
    SameTestFail,
    #[serde(rename = "test-skipped")]
    SameTestSkipped,
    #[serde(rename = "test-pass")]
    SameTestPass,
    SpuriousRegressed,
    SpuriousFixed,
}

#[derive(Debug, Clone, PartialEq)]
pub enum TestResult {
    BrokenCrate(String),
    PrepareFail(FailureReason),
    BuildFail(FailureReason),
    TestFail(FailureReason),
    TestSkipped,
    TestPass,
    Skipped,
    Error,
}

impl FromStr for TestResult {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None => match text {
                "test-skipped" => Ok(Self::TestSkipped),
                "test-pass" => Ok(Self::TestPass),
                "skipped" => Ok(Self::Skipped),
                "error" => Ok(Self::Error),
                _ => Err(format!("no result: {text}")),
            },
            Some(("broken", reason)) => {
                let known = [
                    "unknown",
                    "cargo-toml",
                    "yanked",
                    "missing-deps",
                    "missing-git-repository",
                ];
                let known = known.contains(&reason).then(|| reason.to_owned());
                known.map(Self::BrokenCrate).ok_or(reason.to_owned())
            }
            Some(("prepare-fail", reason)) => Ok(Self::PrepareFail(reason.parse()?)),
            Some(("build-fail", reason)) => Ok(Self::BuildFail(reason.parse()?)),
            Some(("test-fail", reason)) => Ok(Self::TestFail(reason.parse()?)),
            Some(_) => Err(format!("no result: {text}")),
        }
    }
}

impl<'de> Deserialize<'de> for TestResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum FailureReason {
    Unknown,
    Oom,
    NoSpace,
    Timeout,
    Ice,
    NetworkAccess,
    Docker,
    CompilerDiagnosticChange,
    CompilerError(BTreeSet<String>),
    DependsOn(BTreeSet<Crate>),
}

impl FailureReason {
    pub fn is_spurious(&self) -> bool {
        matches!(
            self,
            Self::Oom
                | Self::NoSpace
                | Self::Timeout
                | Self::NetworkAccess
                | Self::Docker
                | Self::CompilerDiagnosticChange
        )
    }
}

impl FromStr for FailureReason {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((kind, rest)) = text.split_once('(') {
            let inner = rest.strip_suffix(')').ok_or("no `)`")?;
            let parts = inner.split(", ");
            return match kind {
                "compiler-error" => Ok(Self::CompilerError(parts.map(str::to_owned).collect())),
                "depends-on" => Ok(Self::DependsOn(
                    parts.map(str::parse).collect::<Result<_, _>>()?,
                )),
                _ => Err(format!("no reason: {text}")),
            };
        }
        match text {
            "unknown" => Ok(Self::Unknown),
            "oom" => Ok(Self::Oom),
            "no-space" => Ok(Self::NoSpace),
            "timeout" => Ok(Self::Timeout),
            "ice" => Ok(Self::Ice),
            "network-access" => Ok(Self::NetworkAccess),
            "docker" => Ok(Self::Docker),
            "compiler-diagnostic-change" => Ok(Self::CompilerDiagnosticChange),
            _ => Err(format!("no reason: {text}")),
        }
    }
}

impl FromStr for Crate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split('/').collect::<Vec<_>>()[..] {
            ["reg", name, version] => Ok(Self::Registry(RegistryCrate {
                name: name.to_owned(),
                version: version.to_owned(),
            })),
            _ => Err(format!("no crate: {text}")),
        }
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    pub name: String,
    pub toolchains: [Toolchain; 2],
    pub mode: Mode,
    pub cap_lints: CapLints,
    pub priority: i32,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub github_issue: Option<GitHubIssue>,
    pub status: Status,
    pub assigned_to: Option<Assignee>,
    pub report_url: Option<String>,
    pub ignore_blacklist: bool,
    pub requirement: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    BuildAndTest,
    BuildOnly,
    CheckOnly,
    Clippy,
    Rustdoc,
    UnstableFeatures,
    Fix,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapLints {
    Allow,
    Warn,
    Deny,
    Forbid,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Queued,
    Running,
    NeedsReport,
    Failed,
    GeneratingReport,
    ReportFailed,
    Completed,
}

#[derive(Debug, PartialEq, Deserialize)]
pub enum Assignee {
    Agent(String),
    Distributed,
    #[serde(rename = "CLI")]
    Cli,
}

#[derive(Debug, PartialEq, Deserialize)]
pub struct GitHubIssue {
    pub api_url: String,
    pub html_url: String,
    pub number: i32,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    pub source: ToolchainSource,
    pub target: Option<String>,
    pub rustflags: Option<String>,
    pub rustdocflags: Option<String>,
    pub cargoflags: Option<String>,
    pub ci_try: bool,
    pub patches: Vec<CratePatch>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToolchainSource {
    Dist { name: String },
    Ci { sha: String, alt: bool },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CratePatch {
    pub name: String,
    pub repo: String,
    pub branch: String,
}
