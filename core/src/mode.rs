//! Modes and scopes, as data: what an experiment runs on each side of each crate.
//!
//! A mode is a list of steps; a step is one cargo invocation per scope. Adding a mode is adding a
//! row to [`Mode::spec`]; nothing else asks which mode it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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

/// One cargo invocation of a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepSpec {
    /// The step's name in results.
    pub name: &'static str,
    /// The cargo subcommand and its arguments.
    pub cargo: &'static [&'static str],
    /// What is added in scope `all`.
    pub all: &'static [&'static str],
}

/// A mode, spelled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeSpec {
    /// The steps, in order; a later one runs only where the earlier ones did not fail.
    pub steps: &'static [StepSpec],
    /// Environment of every step.
    pub env: &'static [(&'static str, &'static str)],
}

/// What an experiment does with each crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `cargo check`.
    CheckOnly,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 1] = [Self::CheckOnly];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::CheckOnly => "check-only",
        }
    }

    /// The mode as data.
    pub fn spec(self) -> ModeSpec {
        match self {
            Self::CheckOnly => ModeSpec {
                steps: &[StepSpec {
                    name: "check",
                    cargo: &["check"],
                    all: &["--all-targets"],
                }],
                // Nothing that is checked is ever run under a debugger, and nothing is built
                // twice: debug information and incremental state of build scripts and proc macros
                // would only cost time.
                env: &[
                    ("CARGO_PROFILE_DEV_DEBUG", "0"),
                    ("CARGO_PROFILE_TEST_DEBUG", "0"),
                    ("CARGO_PROFILE_BENCH_DEBUG", "0"),
                    ("CARGO_INCREMENTAL", "0"),
                ],
            },
        }
    }
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
        assert_eq!(e.to_string(), "`chek` is no mode; there are: check-only");
    }

    #[test]
    fn scope_all_starts_with_the_libraries() {
        assert_eq!(Scope::All.tiers(), [Scope::Lib, Scope::All]);
        assert_eq!(Scope::Lib.tiers(), [Scope::Lib]);
    }
}
