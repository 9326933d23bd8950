//! What a crate is: a registry release, a package of a git repository at a commit, or a local
//! directory, with its identity.
//!
//! This module knows nothing of indexes, downloads or disks.

use std::fmt;
use std::str::FromStr;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::git::{Commit, GitUrl};

/// The longest name a registry accepts, in characters (cargo's own limit for crates.io).
pub const MAX_NAME_CHARS: usize = 64;

/// Why a piece of text is no crate name, checksum or crate reference.
#[derive(Debug, thiserror::Error)]
pub enum KrateError {
    /// The name is empty, too long, or has a character that cargo refuses.
    #[error("`{name}` is no crate name: {why}")]
    Name {
        /// The text as it was given.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The part after `@` is no semantic version.
    #[error("`{text}` is no version of a crate: {source}")]
    Version {
        /// The text as it was given.
        text: String,
        /// What the version parser says.
        source: semver::Error,
    },
    /// A checksum that is not 64 hexadecimal digits.
    #[error("`{0}` is no SHA-256 checksum (64 hexadecimal digits)")]
    Checksum(String),
}

/// The name of a crate, as its author spells it.
///
/// Registries compare names without case and with `-` equal to `_`; [`CrateName::canonical`] gives
/// that form. Two names that differ only so are the same crate, and [`PartialEq`] is on the
/// spelling, because cargo writes the author's spelling into lockfiles.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CrateName(String);

impl CrateName {
    /// Checks `name` by cargo's rules: it starts with a letter or `_`, and goes on with letters,
    /// digits, `-` and `_`, ASCII all through, at most [`MAX_NAME_CHARS`] long.
    ///
    /// # Errors
    /// [`KrateError::Name`], with the reason.
    pub fn new(name: impl Into<String>) -> Result<Self, KrateError> {
        let name = name.into();
        let why = if name.is_empty() {
            "it is empty"
        } else if name.chars().count() > MAX_NAME_CHARS {
            "it has more than 64 characters"
        } else if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            "it must start with a letter or `_`"
        } else if !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        {
            "only letters, digits, `-` and `_` are allowed"
        } else {
            return Ok(Self(name));
        };
        Err(KrateError::Name { name, why })
    }

    /// The spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that registries compare by: lower case, `-` as `_`.
    pub fn canonical(&self) -> String {
        self.0.to_ascii_lowercase().replace('-', "_")
    }
}

impl fmt::Display for CrateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CrateName {
    type Err = KrateError;
    fn from_str(s: &str) -> Result<Self, KrateError> {
        Self::new(s)
    }
}

impl TryFrom<String> for CrateName {
    type Error = KrateError;
    fn try_from(s: String) -> Result<Self, KrateError> {
        Self::new(s)
    }
}

impl From<CrateName> for String {
    fn from(name: CrateName) -> Self {
        name.0
    }
}

/// A SHA-256 checksum: 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Checksum(String);

impl Checksum {
    /// Takes a checksum in hexadecimal, in either case.
    ///
    /// # Errors
    /// [`KrateError::Checksum`] when it is not 64 hexadecimal digits.
    pub fn new(hex: impl Into<String>) -> Result<Self, KrateError> {
        let hex = hex.into();
        if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(hex.to_ascii_lowercase()))
        } else {
            Err(KrateError::Checksum(hex))
        }
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Checksum {
    type Error = KrateError;
    fn try_from(s: String) -> Result<Self, KrateError> {
        Self::new(s)
    }
}

impl From<Checksum> for String {
    fn from(sum: Checksum) -> Self {
        sum.0
    }
}

/// One release of a registry: enough to fetch it and to know that it is the right one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The name in the author's spelling.
    pub name: CrateName,
    /// The full version, build metadata included.
    pub version: Version,
    /// SHA-256 of the `.crate` file, from the index.
    pub checksum: Checksum,
}

/// Where the source of a crate comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// The registry of the experiment.
    Registry {
        /// SHA-256 of the `.crate` file.
        checksum: Checksum,
    },
    /// A package of a git repository.
    Git {
        /// The repository.
        url: GitUrl,
        /// The commit.
        commit: Commit,
        /// The package's directory in the tree, with `/` between its parts; empty for the top.
        path: String,
    },
    /// A directory on the machine that runs the job.
    Local {
        /// The crate's own directory (the one with its `Cargo.toml`), absolute.
        path: String,
        /// The directory of its workspace, absolute, where that is another one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        root: Option<String>,
    },
}

/// A crate of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crate {
    /// The name in the author's spelling.
    pub name: CrateName,
    /// The full version, build metadata included.
    pub version: Version,
    /// Where the source is.
    pub source: Source,
}

impl Crate {
    /// The registry release that this crate is, if it is one.
    pub fn release(&self) -> Option<Release> {
        match &self.source {
            Source::Registry { checksum } => Some(Release {
                name: self.name.clone(),
                version: self.version.clone(),
                checksum: checksum.clone(),
            }),
            Source::Git { .. } | Source::Local { .. } => None,
        }
    }

    /// `name-version`, or `name-version@commit` with twelve digits of the commit for a package of a
    /// git repository: the key of the crate in an experiment and its directory's name.
    ///
    /// It holds only characters that cargo allows in names and versions (letters, digits, `-`,
    /// `_`, `.` and `+`), and that one `@`, which keeps a repository's package apart from the
    /// release of the same name and version.
    pub fn id(&self) -> CrateId {
        let id = format!("{}-{}", self.name, self.version);
        match &self.source {
            Source::Git { commit, .. } => CrateId(format!("{id}@{}", commit.short())),
            Source::Registry { .. } | Source::Local { .. } => CrateId(id),
        }
    }
}

impl fmt::Display for Crate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// What [`Crate::id`] gives: unique in an experiment, and safe as one component of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CrateId(String);

impl CrateId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CrateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A crate as a person names it: `name` (the newest release) or `name@version`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CrateRef {
    /// The name; registries find it in any spelling.
    pub name: CrateName,
    /// The exact version, or the newest that is neither yanked nor a pre-release.
    pub version: Option<Version>,
}

impl FromStr for CrateRef {
    type Err = KrateError;
    fn from_str(text: &str) -> Result<Self, KrateError> {
        let (name, version) = match text.split_once('@') {
            None => (text, None),
            Some((name, version)) => {
                let parsed = Version::parse(version).map_err(|source| KrateError::Version {
                    text: text.to_owned(),
                    source,
                })?;
                (name, Some(parsed))
            }
        };
        Ok(Self {
            name: CrateName::new(name)?,
            version,
        })
    }
}

impl fmt::Display for CrateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            None => write!(f, "{}", self.name),
            Some(version) => write!(f, "{}@{version}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_cargos_rules() {
        for good in ["a", "_x", "serde_json", "rustc-hash", "A9", "x86"] {
            assert!(CrateName::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in [
            "",
            "9a",
            "-a",
            "a b",
            "a/b",
            "..",
            "é",
            "a.b",
            long.as_str(),
        ] {
            assert!(CrateName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn canonical_names_fold_case_and_dashes() {
        let name = CrateName::new("Foo-Bar_baz").expect("valid");
        assert_eq!(name.canonical(), "foo_bar_baz");
        assert_eq!(name.as_str(), "Foo-Bar_baz");
    }

    #[test]
    fn references_keep_build_metadata() {
        let r: CrateRef = "zstd-sys@2.0.9+zstd.1.5.5".parse().expect("valid");
        assert_eq!(r.to_string(), "zstd-sys@2.0.9+zstd.1.5.5");
        let bare: CrateRef = "itoa".parse().expect("valid");
        assert_eq!(bare.version, None);
    }

    #[test]
    fn wrong_references_say_what_is_wrong() {
        let e = "itoa@1".parse::<CrateRef>().expect_err("no full version");
        assert!(e.to_string().contains("`itoa@1`"), "{e}");
        let e = "it oa".parse::<CrateRef>().expect_err("a space");
        assert!(e.to_string().contains("only letters"), "{e}");
    }

    #[test]
    fn checksums_are_sixty_four_digits() {
        assert!(Checksum::new("a".repeat(64)).is_ok());
        assert!(Checksum::new("a".repeat(63)).is_err());
        assert!(Checksum::new("g".repeat(64)).is_err());
        assert_eq!(
            Checksum::new("A".repeat(64)).expect("hex").as_str(),
            "a".repeat(64)
        );
    }
}
