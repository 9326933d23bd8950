//! Modes and scopes, as data: what an experiment runs on each side of each crate.
//!
//! A mode is a list of steps; a step is one cargo invocation per scope. Adding a mode is adding a
//! row to [`Mode::spec`]; nothing else asks which mode it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::experiment::CapLints;
use crate::outcome::{UnitKey, UnitKind};

/// What part of a crate a job looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Libraries and binaries, resolved without dev-dependencies.
    Lib,
    /// Tests, examples and benches too, with dev-dependencies.
    All,
}

impl Scope {
    /// The tiers of an experiment with this scope, in the order in which they run: the cheap
    /// answer that matters most comes first, over the whole selection.
    pub fn tiers(self) -> &'static [Self] {
        match self {
            Self::Lib => &[Self::Lib],
            Self::All => &[Self::Lib, Self::All],
        }
    }

    /// `lib` or `all`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lib => "lib",
            Self::All => "all",
        }
    }

    /// Whether the manifest keeps its dev-dependencies.
    pub fn dev_dependencies(self) -> bool {
        self == Self::All
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that stands for no mode or scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no {what}; there are: {known}")]
pub struct UnknownName {
    /// What kind of name was looked for.
    pub what: &'static str,
    /// The text as it was given.
    pub given: String,
    /// The names there are.
    pub known: String,
}

impl FromStr for Scope {
    type Err = UnknownName;
    fn from_str(s: &str) -> Result<Self, UnknownName> {
        match s {
            "lib" => Ok(Self::Lib),
            "all" => Ok(Self::All),
            _ => Err(UnknownName {
                what: "scope",
                given: s.to_owned(),
                known: "lib, all".to_owned(),
            }),
        }
    }
}

/// What a step's units are, and how what it says is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepKind {
    /// Units are compiled, or checked; cargo's messages name them.
    Compile,
    /// Units are documented. What has to be checked on the way there is none of them.
    Doc,
    /// Units that were built with the test harness are run; their output names the tests.
    Test,
    /// The examples in the documentation are built and run: one unit, the library's doctests.
    DocTest,
    /// The source is read by Ejecta itself, and nothing of it is run.
    Scan,
}

impl StepKind {
    /// Whether it runs the crate's tests: what `skip-tests` leaves out.
    pub fn runs_tests(self) -> bool {
        matches!(self, Self::Test | Self::DocTest)
    }

    /// Whether the outcome of such a step may say anything of `unit`: tests that fail say nothing
    /// of the library as its users build it.
    pub fn speaks_of(self, unit: &UnitKey) -> bool {
        match self {
            Self::Compile | Self::Doc => unit.kind != UnitKind::DocTest,
            Self::Test => unit.harness && unit.kind != UnitKind::DocTest,
            Self::DocTest => unit.kind == UnitKind::DocTest,
            Self::Scan => false,
        }
    }
}

/// One command of a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepSpec {
    /// The step's name in results.
    pub name: &'static str,
    /// What its units are.
    pub kind: StepKind,
    /// The cargo subcommand and its arguments; empty for a [`StepKind::Scan`].
    pub cargo: &'static [&'static str],
    /// What is added in scope `all`.
    pub all: &'static [&'static str],
    /// The scopes in which it runs.
    pub scopes: &'static [Scope],
    /// Whether its cargo knows `--keep-going` (those of 1.74 and later): those that run programs
    /// have an option of another name.
    pub keep_going: bool,
}

impl StepSpec {
    /// A step that compiles, in both scopes.
    const fn compile(name: &'static str, cargo: &'static [&'static str]) -> Self {
        Self {
            name,
            kind: StepKind::Compile,
            cargo,
            all: &[],
            scopes: &[Scope::Lib, Scope::All],
            keep_going: true,
        }
    }

    /// The same with more arguments in scope `all`.
    const fn and_in_all(mut self, all: &'static [&'static str]) -> Self {
        self.all = all;
        self
    }
}

const BUILD: StepSpec = StepSpec::compile("build", &["build"]);
const CHECK: StepSpec = StepSpec::compile("check", &["check"]).and_in_all(&["--all-targets"]);
const CLIPPY: StepSpec = StepSpec::compile("clippy", &["clippy"]).and_in_all(&["--all-targets"]);
const DOC: StepSpec = StepSpec {
    kind: StepKind::Doc,
    all: &["--document-private-items"],
    ..StepSpec::compile("doc", &["doc", "--no-deps"])
};
/// With `--broken-code` what a fix breaks stays broken, for the next step to see; without it cargo
/// takes such fixes back and succeeds. One unit after the other: the library and its tests are the
/// same files, and what comes of them must not depend on which is mended first.
const FIX: StepSpec = StepSpec::compile(
    "fix",
    &["fix", "--allow-no-vcs", "--broken-code", "--jobs", "1"],
)
.and_in_all(&["--all-targets"]);
const SCAN: StepSpec = StepSpec {
    kind: StepKind::Scan,
    keep_going: false,
    ..StepSpec::compile("unstable-features", &[])
};

/// `cargo build --all-targets` and not `cargo test --no-run`: it makes the same units as
/// `cargo check --all-targets`, builds no example as a test, and can be told to go on after a
/// failure. What it has built is fresh for `cargo test --tests`.
const TEST_BUILD: StepSpec = StepSpec {
    scopes: &[Scope::All],
    ..StepSpec::compile("test-build", &["build", "--all-targets"])
};

/// Everything whose `test` is on: the library, binaries, integration tests. Benches are not run,
/// and examples only where their manifest says so.
const TEST: StepSpec = StepSpec {
    name: "test",
    kind: StepKind::Test,
    cargo: &["test", "--no-fail-fast"],
    all: &[],
    scopes: &[Scope::All],
    keep_going: false,
};

const DOCTEST: StepSpec = StepSpec {
    name: "doctest",
    kind: StepKind::DocTest,
    cargo: &["test", "--doc"],
    ..TEST
};

/// Nothing that is built is ever run under a debugger, and nothing is built twice: debug
/// information and incremental state would only cost time. All else of a profile, such as checks
/// for overflow, is as the crate has it.
const QUICK: &[(&str, &str)] = &[
    ("CARGO_PROFILE_DEV_DEBUG", "0"),
    ("CARGO_PROFILE_TEST_DEBUG", "0"),
    ("CARGO_PROFILE_BENCH_DEBUG", "0"),
    ("CARGO_INCREMENTAL", "0"),
];

/// A mode, spelled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeSpec {
    /// The steps, in order; a later one runs unless all that it needs failed before.
    pub steps: &'static [StepSpec],
    /// Environment of every step.
    pub env: &'static [(&'static str, &'static str)],
    /// Components, as rustup calls them, that a toolchain needs beside rustc, cargo and the
    /// standard library.
    pub components: &'static [&'static str],
    /// The cap on lints where neither the user nor a toolchain's flags say anything.
    pub cap_lints: CapLints,
    /// Whether steps work on a copy of the source that they may change.
    pub writable_source: bool,
    /// Whether `[package.metadata.docs.rs]` of the manifest counts.
    pub docs_rs: bool,
}

impl ModeSpec {
    /// Whether any step runs cargo.
    pub fn runs_cargo(&self) -> bool {
        self.steps.iter().any(|s| s.kind != StepKind::Scan)
    }

    /// The steps that run in `scope`, without those that run tests where `skip_tests` is set.
    pub fn steps_in(
        &self,
        scope: Scope,
        skip_tests: bool,
    ) -> impl Iterator<Item = &'static StepSpec> {
        let steps = self.steps.iter();
        steps.filter(move |s| s.scopes.contains(&scope) && !(skip_tests && s.kind.runs_tests()))
    }
}

/// What an experiment does with each crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Builds; in scope `all` builds the tests, too, and runs them and the doctests.
    BuildAndTest,
    /// Builds, and runs nothing but build scripts and proc macros.
    BuildOnly,
    /// `cargo check`.
    CheckOnly,
    /// `cargo clippy`, with no cap on lints.
    Clippy,
    /// `cargo doc`, as docs.rs would.
    Rustdoc,
    /// `cargo fix`, and then checks what came of it.
    Fix,
    /// Lists the `#![feature]`s that the source names; builds nothing.
    UnstableFeatures,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 7] = [
        Self::BuildAndTest,
        Self::BuildOnly,
        Self::CheckOnly,
        Self::Clippy,
        Self::Rustdoc,
        Self::Fix,
        Self::UnstableFeatures,
    ];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::BuildAndTest => "build-and-test",
            Self::BuildOnly => "build-only",
            Self::CheckOnly => "check-only",
            Self::Clippy => "clippy",
            Self::Rustdoc => "rustdoc",
            Self::Fix => "fix",
            Self::UnstableFeatures => "unstable-features",
        }
    }

    /// The mode as data.
    pub fn spec(self) -> ModeSpec {
        const PLAIN: ModeSpec = ModeSpec {
            steps: &[],
            env: QUICK,
            components: &[],
            cap_lints: CapLints::Warn,
            writable_source: false,
            docs_rs: false,
        };
        match self {
            Self::BuildAndTest => ModeSpec {
                steps: &[BUILD, TEST_BUILD, TEST, DOCTEST],
                ..PLAIN
            },
            Self::BuildOnly => ModeSpec {
                steps: &[BUILD, TEST_BUILD],
                ..PLAIN
            },
            Self::CheckOnly => ModeSpec {
                steps: &[CHECK],
                ..PLAIN
            },
            Self::Clippy => ModeSpec {
                steps: &[CLIPPY],
                components: &["clippy"],
                // Many of its lints are denied by default, and would never be seen under a cap.
                cap_lints: CapLints::Forbid,
                ..PLAIN
            },
            Self::Rustdoc => ModeSpec {
                steps: &[DOC],
                docs_rs: true,
                ..PLAIN
            },
            Self::Fix => ModeSpec {
                steps: &[FIX, CHECK],
                writable_source: true,
                ..PLAIN
            },
            Self::UnstableFeatures => ModeSpec {
                steps: &[SCAN],
                ..PLAIN
            },
        }
    }
}

/// What the step called `name` is, in whatever mode; a name of another version is a compilation.
pub fn step_kind(name: &str) -> StepKind {
    Mode::ALL
        .iter()
        .flat_map(|mode| mode.spec().steps)
        .find(|step| step.name == name)
        .map_or(StepKind::Compile, |step| step.kind)
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = UnknownName;
    fn from_str(s: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|m| m.name() == s)
            .ok_or_else(|| UnknownName {
                what: "mode",
                given: s.to_owned(),
                known: Self::ALL.map(Self::name).join(", "),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for mode in Mode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
            assert!(!mode.spec().steps.is_empty());
        }
        for scope in [Scope::Lib, Scope::All] {
            assert_eq!(scope.name().parse(), Ok(scope));
        }
    }

    #[test]
    fn an_unknown_mode_is_named_with_the_ones_there_are() {
        let e = "chek".parse::<Mode>().expect_err("misspelled");
        assert_eq!(
            e.to_string(),
            "`chek` is no mode; there are: build-and-test, build-only, check-only, clippy, \
             rustdoc, fix, unstable-features"
        );
    }

    #[test]
    fn scope_all_starts_with_the_libraries() {
        assert_eq!(Scope::All.tiers(), [Scope::Lib, Scope::All]);
        assert_eq!(Scope::Lib.tiers(), [Scope::Lib]);
    }
}
