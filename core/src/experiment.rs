//! What an experiment is: a name, two toolchains, and the choices that hold for all its jobs.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::mode::{Mode, Scope, UnknownName};
use crate::outcome::Side;
use crate::toolchain::ToolchainSpec;

/// The name of an experiment: letters, digits, `-`, `_` and `.`, at most 100 characters, starting
/// with a letter or a digit. It is safe in paths and addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExperimentName(String);

/// Text that is no experiment name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no experiment name (letters, digits, `-`, `_` and `.`, at most 100, starting with a letter or digit)"
)]
pub struct InvalidName(String);

impl ExperimentName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidName`] when it does not follow the rule of the type.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
        let name = name.into();
        let fits = name.len() <= 100
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if fits {
            Ok(Self(name))
        } else {
            Err(InvalidName(name))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExperimentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ExperimentName {
    type Err = InvalidName;
    fn from_str(s: &str) -> Result<Self, InvalidName> {
        Self::new(s)
    }
}

impl TryFrom<String> for ExperimentName {
    type Error = InvalidName;
    fn try_from(s: String) -> Result<Self, InvalidName> {
        Self::new(s)
    }
}

impl From<ExperimentName> for String {
    fn from(name: ExperimentName) -> Self {
        name.0
    }
}

/// Which lockfile a job uses, on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockfilePolicy {
    /// The published one for crates with binaries, a fresh one for libraries, as their users have.
    Auto,
    /// The published one wherever there is one.
    Published,
    /// Always a fresh one.
    Fresh,
}

impl LockfilePolicy {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Published => "published",
            Self::Fresh => "fresh",
        }
    }

    /// Whether a package with a lockfile keeps it.
    pub fn keeps_published(self, has_binaries: bool) -> bool {
        match self {
            Self::Auto => has_binaries,
            Self::Published => true,
            Self::Fresh => false,
        }
    }
}

/// When the baseline runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BaselineRuns {
    /// Only where the candidate did not pass: without a failure there is no regression.
    OnFailure,
    /// Always: finds what the candidate fixed, too.
    Always,
}

impl BaselineRuns {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::OnFailure => "on-failure",
            Self::Always => "always",
        }
    }
}

/// What makes a difference between the two sides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// What fails with one side only.
    #[default]
    Outcomes,
    /// That, and warnings of which one side has more.
    Warnings,
}

impl Compare {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Outcomes => "outcomes",
            Self::Warnings => "warnings",
        }
    }
}

/// What `--cap-lints` is for the crates of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapLints {
    /// Lints keep their level: a crate that denies warnings fails on a new one.
    Forbid,
    /// A denied lint is a warning: what users of the crate see.
    Warn,
    /// No lint says anything.
    Allow,
}

impl CapLints {
    /// The value of rustc's option.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forbid => "forbid",
            Self::Warn => "warn",
            Self::Allow => "allow",
        }
    }

    /// What an experiment uses when nobody says: what the mode has, which mostly is `warn`, so that
    /// a crate that denies warnings is no regression; but `forbid`, so no cap, where a toolchain's
    /// own flags raise a lint, because then the lint is what is being tested.
    pub fn default_for(mode: Mode, baseline: &ToolchainSpec, candidate: &ToolchainSpec) -> Self {
        if baseline.raises_lints() || candidate.raises_lints() {
            Self::Forbid
        } else {
            mode.spec().cap_lints
        }
    }
}

macro_rules! named_choice {
    ($type:ident, $what:literal, [$($variant:ident),+]) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;
            fn from_str(s: &str) -> Result<Self, UnknownName> {
                const ALL: &[$type] = &[$($type::$variant),+];
                ALL.iter().copied().find(|c| c.name() == s).ok_or_else(|| UnknownName {
                    what: $what,
                    given: s.to_owned(),
                    known: ALL.iter().map(|c| c.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

named_choice!(LockfilePolicy, "lockfile policy", [Auto, Published, Fresh]);
named_choice!(BaselineRuns, "choice of baseline runs", [OnFailure, Always]);
named_choice!(Compare, "comparison", [Outcomes, Warnings]);
named_choice!(CapLints, "lint cap", [Forbid, Warn, Allow]);

/// All choices of an experiment that its jobs depend on: what an agent needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The toolchain that is known to be good.
    pub baseline: ToolchainSpec,
    /// The toolchain under test.
    pub candidate: ToolchainSpec,
    /// What is done with each crate.
    pub mode: Mode,
    /// What part of each crate.
    pub scope: Scope,
    /// Which lockfile.
    pub lockfile: LockfilePolicy,
    /// When the baseline runs.
    pub baseline_runs: BaselineRuns,
    /// The cap on lints.
    pub cap_lints: CapLints,
    /// What makes a difference.
    #[serde(default)]
    pub compare: Compare,
    /// How often a difference is run again, on both sides, before it counts.
    pub confirmations: u32,
    /// Bounds of every step.
    pub limits: Limits,
}

impl Config {
    /// The toolchain of `side`.
    pub fn toolchain(&self, side: Side) -> &ToolchainSpec {
        match side {
            Side::Baseline => &self.baseline,
            Side::Candidate => &self.candidate,
        }
    }
}

/// An experiment as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Its name, unique in a store.
    pub name: ExperimentName,
    /// The selection as it was written.
    pub selection: String,
    /// The order of the plan.
    pub seed: u64,
    /// What its jobs depend on.
    pub config: Config,
    /// When it was created.
    pub created: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_paths_and_addresses() {
        for good in ["a", "pr-1234", "beta-1.96", "0", "A_b"] {
            assert!(ExperimentName::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(101);
        for bad in ["", "-a", ".", "..", "a/b", "a b", "ä", long.as_str()] {
            assert!(ExperimentName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn auto_keeps_the_lockfile_of_programs_only() {
        assert!(LockfilePolicy::Auto.keeps_published(true));
        assert!(!LockfilePolicy::Auto.keeps_published(false));
        assert!(LockfilePolicy::Published.keeps_published(false));
        assert!(!LockfilePolicy::Fresh.keeps_published(true));
    }

    #[test]
    fn a_raised_lint_is_not_capped_by_default() {
        let plain: ToolchainSpec = "stable".parse().expect("valid");
        let raised: ToolchainSpec = "stable+rustflags=-Dunused".parse().expect("valid");
        assert_eq!(
            CapLints::default_for(Mode::CheckOnly, &plain, &plain),
            CapLints::Warn
        );
        assert_eq!(
            CapLints::default_for(Mode::CheckOnly, &plain, &raised),
            CapLints::Forbid
        );
        assert_eq!(
            CapLints::default_for(Mode::Clippy, &plain, &plain),
            CapLints::Forbid
        );
    }

    #[test]
    fn choices_are_read_as_they_are_written() {
        for c in [
            LockfilePolicy::Auto,
            LockfilePolicy::Published,
            LockfilePolicy::Fresh,
        ] {
            assert_eq!(c.name().parse(), Ok(c));
        }
        for c in [BaselineRuns::OnFailure, BaselineRuns::Always] {
            assert_eq!(c.name().parse(), Ok(c));
        }
        let e = "never".parse::<CapLints>().expect_err("unknown");
        assert_eq!(
            e.to_string(),
            "`never` is no lint cap; there are: forbid, warn, allow"
        );
    }
}
