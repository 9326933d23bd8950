//! Why a job has no outcome on either side: the crate cannot even be tried, through its own fault.
//!
//! The words are those of the reference runner where it has some; `docs/crater-json.md` says which
//! of ours becomes which of its.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::classify;
use crate::limits::LimitHit;

/// Why a crate could not even be tried; the fault is the crate's, on both sides alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Unprepared {
    /// The package itself is unusable: a bad archive, no manifest, a manifest cargo refuses.
    Broken {
        /// What kind of fault it is; records of older versions do not say.
        #[serde(default, skip_serializing_if = "UnpreparedReason::is_unknown")]
        reason: UnpreparedReason,
        /// What is wrong, for people.
        message: String,
    },
    /// Its dependencies cannot be resolved or had.
    PrepareFail {
        /// What kind of fault it is; records of older versions do not say.
        #[serde(default, skip_serializing_if = "UnpreparedReason::is_unknown")]
        reason: UnpreparedReason,
        /// What is wrong, for people.
        message: String,
    },
    /// It asks for a newer Rust than one of the toolchains (`rust-version`).
    RustVersion {
        /// Who asks for what, for people.
        message: String,
    },
}

impl Unprepared {
    /// What is wrong, for people.
    pub fn message(&self) -> &str {
        match self {
            Self::Broken { message, .. }
            | Self::PrepareFail { message, .. }
            | Self::RustVersion { message } => message,
        }
    }

    /// What kind of fault it is; `None` where nothing is at fault.
    pub fn reason(&self) -> Option<UnpreparedReason> {
        match self {
            Self::Broken { reason, .. } | Self::PrepareFail { reason, .. } => Some(*reason),
            Self::RustVersion { .. } => None,
        }
    }
}

/// What kind of fault a crate has that cannot be tried.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum UnpreparedReason {
    /// There is no `Cargo.toml`, or none that cargo takes.
    CargoToml,
    /// The package is not what its registry says, damaged, or has what no package may have.
    Archive,
    /// Every release that a dependency could be is yanked.
    Yanked,
    /// No release of a dependency has a version that is asked for.
    NoMatchingVersion,
    /// A dependency is nowhere to be had.
    MissingDeps,
    /// A repository is not there, or not for everybody.
    MissingGitRepository,
    /// There are releases of all dependencies, and none that go together: versions, features or
    /// native libraries exclude each other.
    VersionConflict,
    /// Its lockfile is one that nothing can be built from.
    Lockfile,
    /// Resolving its dependencies was stopped at a limit of the sandbox.
    Limit {
        /// Which.
        limit: LimitHit,
    },
    /// None of these.
    #[default]
    Unknown,
}

impl UnpreparedReason {
    /// The name used in results: the kind, or the name of the limit.
    pub fn name(self) -> &'static str {
        match self {
            Self::CargoToml => "cargo-toml",
            Self::Archive => "archive",
            Self::Yanked => "yanked",
            Self::NoMatchingVersion => "no-matching-version",
            Self::MissingDeps => "missing-deps",
            Self::MissingGitRepository => "missing-git-repository",
            Self::VersionConflict => "version-conflict",
            Self::Lockfile => "lockfile",
            Self::Limit { limit } => limit.name(),
            Self::Unknown => "unknown",
        }
    }

    /// Whether it is [`Self::Unknown`].
    pub fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }

    /// Reads it from what cargo said when it refused to resolve.
    ///
    /// A cargo before 1.84 does not say that a version is yanked: it then is as if it were not
    /// there.
    pub fn of_cargo(lines: &[String]) -> Self {
        let start = lines.iter().position(|line| line.starts_with("error"));
        let said = &lines[start.unwrap_or(lines.len())..];
        let has = |words: &str| said.iter().any(|line| line.contains(words));
        let begins = |words: &str| said.first().is_some_and(|line| line.starts_with(words));
        if has("failed to select a version for the requirement") {
            let yanked = |line: &String| is_yanked(line.trim());
            return if said.iter().any(yanked) {
                Self::Yanked
            } else {
                Self::NoMatchingVersion
            };
        }
        if has("failed to select a version for `") {
            return Self::VersionConflict;
        }
        if classify::missing_package(said).is_some() {
            return Self::MissingDeps;
        }
        if classify::missing_repository(said).is_some() {
            return Self::MissingGitRepository;
        }
        if has("registry index was not found in any configuration")
            || has("no index found for registry")
            || begins("error: failed to get `")
        {
            return Self::MissingDeps;
        }
        if has("failed to parse lock file") {
            return Self::Lockfile;
        }
        if begins("error: failed to parse manifest at")
            || begins("error: failed to load manifest for")
            || begins("error: failed to read `")
        {
            return Self::CargoToml;
        }
        Self::Unknown
    }
}

/// `version 1.0.0 is yanked`.
fn is_yanked(line: &str) -> bool {
    line.strip_prefix("version ")
        .and_then(|rest| rest.strip_suffix(" is yanked"))
        .is_some_and(|version| semver::Version::parse(version).is_ok())
}

impl fmt::Display for UnpreparedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
#[path = "unprepared_tests.rs"]
mod tests;
