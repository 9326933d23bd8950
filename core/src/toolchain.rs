//! The grammar of toolchains: a source, then modifiers.
//!
//! ```text
//! spec      = source *( "+" key "=" value )
//! source    = rustup name | "path:" directory | "master#" commit | "try#" commit
//! key       = "rustflags" | "rustdocflags" | "cargoflags" | "target" | "patch"
//! ```
//!
//! A modifier starts where `+` is followed by lower-case letters and `=`, so that a value may hold
//! a `+` of its own (`+rustflags=-Ctarget-feature=+avx2`). Finding a toolchain on a machine is the
//! agent's work; this module knows text only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a toolchain comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ToolchainSource {
    /// A name that rustup knows: a channel, a date, a release, or a linked toolchain.
    Rustup(String),
    /// A directory that holds `bin/rustc` and `bin/cargo`.
    Path(String),
}

/// A toolchain with its modifiers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ToolchainSpec {
    /// Where it comes from.
    pub source: ToolchainSource,
    /// Flags for rustc, split at white space as cargo splits `RUSTFLAGS`.
    pub rustflags: Vec<String>,
}

/// Why text is no toolchain. Each names the part that is wrong, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolchainError {
    /// Nothing before the first modifier.
    #[error("toolchain `{0}` has no name; write for example `stable` or `path:/opt/rust`")]
    Empty(String),
    /// A name with characters that rustup does not allow.
    #[error(
        "`{name}` in toolchain `{spec}` is no toolchain name: letters, digits, `.`, `_` and `-` are allowed, or `path:DIRECTORY`"
    )]
    Name {
        /// The whole text.
        spec: String,
        /// The part that is wrong.
        name: String,
    },
    /// `path:` and nothing after it.
    #[error("`path:` in toolchain `{0}` is followed by no directory")]
    EmptyPath(String),
    /// Forty hexadecimal digits by themselves.
    #[error(
        "`{name}` in toolchain `{spec}` is a commit; write `master#{name}` for a merged one or `try#{name}` for a try build"
    )]
    BareCommit {
        /// The whole text.
        spec: String,
        /// The commit.
        name: String,
    },
    /// A key that no modifier has.
    #[error("`+{key}=` in toolchain `{spec}` is no modifier; there is `+rustflags=`")]
    UnknownModifier {
        /// The whole text.
        spec: String,
        /// The key.
        key: String,
    },
    /// A modifier or source that is in the grammar and that this version cannot do.
    #[error("`{part}` in toolchain `{spec}` is not supported by this version of ejecta")]
    Unsupported {
        /// The whole text.
        spec: String,
        /// The part.
        part: String,
    },
    /// A modifier without a value.
    #[error("`+{key}=` in toolchain `{spec}` has no value")]
    EmptyValue {
        /// The whole text.
        spec: String,
        /// The key.
        key: String,
    },
    /// The same modifier twice.
    #[error(
        "`+{key}=` is twice in toolchain `{spec}`; write all its flags in one, separated by spaces"
    )]
    Twice {
        /// The whole text.
        spec: String,
        /// The key.
        key: String,
    },
}

const NOT_YET: [&str; 4] = ["target", "rustdocflags", "cargoflags", "patch"];

impl ToolchainSpec {
    /// Whether the flags deny or forbid a lint.
    pub fn raises_lints(&self) -> bool {
        self.rustflags.iter().any(|flag| {
            ["-D", "-F", "--deny", "--forbid"]
                .iter()
                .any(|raise| flag.starts_with(raise))
        })
    }

    fn parse_source(spec: &str, text: &str) -> Result<ToolchainSource, ToolchainError> {
        if text.is_empty() {
            return Err(ToolchainError::Empty(spec.to_owned()));
        }
        if let Some(dir) = text.strip_prefix("path:") {
            return if dir.is_empty() {
                Err(ToolchainError::EmptyPath(spec.to_owned()))
            } else {
                Ok(ToolchainSource::Path(dir.to_owned()))
            };
        }
        if text.starts_with("master#") || text.starts_with("try#") {
            return Err(ToolchainError::Unsupported {
                spec: spec.to_owned(),
                part: text.to_owned(),
            });
        }
        if text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ToolchainError::BareCommit {
                spec: spec.to_owned(),
                name: text.to_owned(),
            });
        }
        let fits = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fits {
            Ok(ToolchainSource::Rustup(text.to_owned()))
        } else {
            Err(ToolchainError::Name {
                spec: spec.to_owned(),
                name: text.to_owned(),
            })
        }
    }
}

/// Where modifiers start: byte positions of `+` followed by lower-case letters and `=`.
fn modifier_starts(text: &str) -> Vec<usize> {
    text.match_indices('+')
        .map(|(at, _)| at)
        .filter(|at| {
            let rest = &text[at + 1..];
            let key = rest
                .find(|c: char| !c.is_ascii_lowercase())
                .unwrap_or(rest.len());
            key > 0 && rest[key..].starts_with('=')
        })
        .collect()
}

impl FromStr for ToolchainSpec {
    type Err = ToolchainError;

    fn from_str(spec: &str) -> Result<Self, ToolchainError> {
        let starts = modifier_starts(spec);
        let source_end = starts.first().copied().unwrap_or(spec.len());
        let mut toolchain = Self {
            source: Self::parse_source(spec, &spec[..source_end])?,
            rustflags: Vec::new(),
        };
        for (n, start) in starts.iter().enumerate() {
            let end = starts.get(n + 1).copied().unwrap_or(spec.len());
            let (key, value) = spec[start + 1..end]
                .split_once('=')
                .expect("modifier_starts only gives places with a `=`");
            let owned = |s: &str| s.to_owned();
            if NOT_YET.contains(&key) {
                return Err(ToolchainError::Unsupported {
                    spec: owned(spec),
                    part: format!("+{key}="),
                });
            }
            if key != "rustflags" {
                return Err(ToolchainError::UnknownModifier {
                    spec: owned(spec),
                    key: owned(key),
                });
            }
            if value.trim().is_empty() {
                return Err(ToolchainError::EmptyValue {
                    spec: owned(spec),
                    key: owned(key),
                });
            }
            if !toolchain.rustflags.is_empty() {
                return Err(ToolchainError::Twice {
                    spec: owned(spec),
                    key: owned(key),
                });
            }
            toolchain.rustflags = value.split_whitespace().map(owned).collect();
        }
        Ok(toolchain)
    }
}

impl fmt::Display for ToolchainSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            ToolchainSource::Rustup(name) => f.write_str(name)?,
            ToolchainSource::Path(dir) => write!(f, "path:{dir}")?,
        }
        if !self.rustflags.is_empty() {
            write!(f, "+rustflags={}", self.rustflags.join(" "))?;
        }
        Ok(())
    }
}

impl TryFrom<String> for ToolchainSpec {
    type Error = ToolchainError;
    fn try_from(s: String) -> Result<Self, ToolchainError> {
        s.parse()
    }
}

impl From<ToolchainSpec> for String {
    fn from(spec: ToolchainSpec) -> Self {
        spec.to_string()
    }
}

/// What `rustc -Vv` and `cargo -V` said of a toolchain, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolchainInfo {
    /// The whole output of `rustc -Vv`.
    pub rustc: String,
    /// The whole output of `cargo -Vv`.
    pub cargo: String,
}

impl ToolchainInfo {
    /// The release of cargo, such as `1.95.0`; pre-release parts are dropped, so that a nightly
    /// counts as the release it becomes.
    pub fn cargo_release(&self) -> Option<semver::Version> {
        release(&self.cargo)
    }

    /// The release of rustc, likewise.
    pub fn rustc_release(&self) -> Option<semver::Version> {
        release(&self.rustc)
    }

    /// The first line of `rustc -Vv`.
    pub fn summary(&self) -> &str {
        self.rustc.lines().next().unwrap_or("unknown")
    }

    /// The newest lockfile format that this cargo reads.
    ///
    /// From cargo's release notes: format 2 since 1.38, 3 since 1.47, 4 since 1.78.
    pub fn max_lockfile_version(&self) -> u32 {
        match self.cargo_release() {
            Some(v) if v < semver::Version::new(1, 38, 0) => 1,
            Some(v) if v < semver::Version::new(1, 47, 0) => 2,
            Some(v) if v < semver::Version::new(1, 78, 0) => 3,
            _ => 4,
        }
    }

    /// Whether `cargo check --keep-going` is stable: since 1.74.
    pub fn has_keep_going(&self) -> bool {
        self.cargo_release()
            .is_none_or(|v| v >= semver::Version::new(1, 74, 0))
    }
}

fn release(verbose: &str) -> Option<semver::Version> {
    let line = verbose.lines().find_map(|l| l.strip_prefix("release: "))?;
    let mut version = semver::Version::parse(line.trim()).ok()?;
    version.pre = semver::Prerelease::EMPTY;
    version.build = semver::BuildMetadata::EMPTY;
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_specs_are_read_and_written_back() {
        for text in [
            "stable",
            "beta",
            "nightly-2026-05-19",
            "1.95.0",
            "my_toolchain",
            "path:/opt/rust 1.63",
            "path:../a+b",
            "stable+rustflags=--cfg planted",
            "path:/x+rustflags=-Ctarget-feature=+avx2,+bmi -Dwarnings",
        ] {
            let spec: ToolchainSpec = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn rustflags_are_split_at_white_space() {
        let spec: ToolchainSpec = "stable+rustflags= -A  warnings ".parse().expect("valid");
        assert_eq!(spec.rustflags, ["-A", "warnings"]);
    }

    #[test]
    fn errors_name_the_part_that_is_wrong() {
        let hex = "0123456789abcdef0123456789abcdef01234567";
        let table = [
            ("", "has no name"),
            ("+rustflags=-A", "has no name"),
            ("path:", "no directory"),
            ("sta ble", "`sta ble` in toolchain"),
            ("-x", "`-x` in toolchain"),
            (hex, "`master#0123456789abcdef0123456789abcdef01234567`"),
            ("stable+rustflgs=-A", "`+rustflgs=`"),
            ("stable+rustflags=", "has no value"),
            ("stable+rustflags=-A+rustflags=-B", "is twice"),
            ("stable+target=wasm32-wasip1", "`+target=`"),
            ("master#abc", "`master#abc`"),
        ];
        for (text, part) in table {
            let e = text.parse::<ToolchainSpec>().expect_err(text).to_string();
            assert!(e.contains(part), "{text}: {e}");
        }
    }

    #[test]
    fn lockfile_versions_follow_cargos_releases() {
        let info = |v: &str| ToolchainInfo {
            rustc: String::new(),
            cargo: format!("cargo {v}\nrelease: {v}\n"),
        };
        for (cargo, newest) in [
            ("1.37.0", 1),
            ("1.46.0", 2),
            ("1.63.0", 3),
            ("1.78.0-nightly", 4),
            ("1.95.0", 4),
        ] {
            assert_eq!(info(cargo).max_lockfile_version(), newest, "{cargo}");
        }
        assert!(!info("1.63.0").has_keep_going());
        assert!(info("1.97.0-nightly").has_keep_going());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_display_round_trips(text in "[a-z0-9:#+=. -]{0,40}") {
            if let Ok(spec) = text.parse::<ToolchainSpec>() {
                let again = spec.to_string().parse::<ToolchainSpec>();
                prop_assert_eq!(again, Ok(spec));
            }
        }
    }
}
