//! `denylist.toml`: reviewed exclusions, each with a reason.
//!
//! ```toml
//! [crates.openssl-sys]
//! reason = "needs the headers of OpenSSL"
//! skip = true
//! version = "<0.9"        # optional: only these versions
//!
//! [crates.polars]
//! reason = "one crate of many, with much to optimise"
//! limits = { memory-mib = 8192, wall-seconds = 3600 }
//! ```

use std::str::FromStr;

use indexmap::IndexMap;
use semver::VersionReq;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::krate::{Crate, CrateName};
use crate::overrides::{LimitError, LimitOverrides};
use crate::plan::{CrateOptions, Skip};

/// Why a denylist cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DenylistError {
    /// Not TOML, or a key, a value or a name that the schema does not have.
    #[error("not a denylist: {0}")]
    Syntax(#[from] toml::de::Error),
    /// An entry whose reason is missing or blank.
    #[error(
        "the entry `{0}` has no reason; write `reason = \"...\"`, for those who review the list"
    )]
    NoReason(CrateName),
    /// An entry that says nothing.
    #[error(
        "the entry `{0}` has no effect; set one of `skip`, `skip-tests`, `quiet`, `broken` to true, or `limits`"
    )]
    NoEffect(CrateName),
    /// Bounds that cannot be.
    #[error("`limits` of the entry `{0}`: {1}")]
    Limits(CrateName, LimitError),
    /// A bound on idleness, for a crate that may be idle for ever.
    #[error("the entry `{0}` has `quiet` and the limit `no-progress-seconds`; keep one of them")]
    QuietAndBounded(CrateName),
    /// Two entries for one crate, spelled differently.
    #[error("`{0}` and `{1}` are the same crate; keep one entry")]
    Twice(CrateName, CrateName),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    #[serde(default)]
    reason: String,
    version: Option<VersionReq>,
    #[serde(default)]
    skip: bool,
    #[serde(default)]
    skip_tests: bool,
    #[serde(default)]
    quiet: bool,
    #[serde(default)]
    broken: bool,
    limits: Option<toml::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    crates: IndexMap<CrateName, Written>,
}

/// An entry that makes sense.
#[derive(Debug, Clone)]
struct Entry {
    version: Option<VersionReq>,
    skip: Option<Skip>,
    options: CrateOptions,
}

impl Written {
    fn check(self, name: &CrateName) -> Result<Entry, DenylistError> {
        let reason = self.reason.trim().to_owned();
        if reason.is_empty() {
            return Err(DenylistError::NoReason(name.clone()));
        }
        let flags = [self.skip, self.skip_tests, self.quiet, self.broken];
        if !flags.contains(&true) && self.limits.is_none() {
            return Err(DenylistError::NoEffect(name.clone()));
        }
        let limits = self.limits.map(|table| LimitOverrides::from_table(&table));
        let limits = limits.transpose();
        let limits = limits.map_err(|why| DenylistError::Limits(name.clone(), why))?;
        let limits = limits.unwrap_or_default();
        if self.quiet && limits.no_progress_seconds.is_some() {
            return Err(DenylistError::QuietAndBounded(name.clone()));
        }
        let skip = if self.broken {
            Some(Skip::Broken { reason })
        } else {
            self.skip.then_some(Skip::Skipped { reason })
        };
        Ok(Entry {
            version: self.version,
            skip,
            options: CrateOptions {
                skip_tests: self.skip_tests,
                quiet: self.quiet,
                limits,
            },
        })
    }
}

/// A checked denylist.
#[derive(Debug, Clone, Default)]
pub struct Denylist {
    /// By canonical name.
    entries: IndexMap<String, Entry>,
    used: DenylistUsed,
}

/// Which denylist counted, so that another run can be held against the same one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenylistUsed {
    /// What it is called, for people: `none` where none counted.
    pub name: String,
    /// How many crates it names.
    pub crates: u64,
    /// The SHA-256 of its text, in hexadecimal; `null` for none.
    pub sha256: Option<String>,
}

impl Default for DenylistUsed {
    /// None.
    fn default() -> Self {
        Self {
            name: "none".to_owned(),
            crates: 0,
            sha256: None,
        }
    }
}

impl FromStr for Denylist {
    type Err = DenylistError;

    fn from_str(text: &str) -> Result<Self, DenylistError> {
        let file: File = toml::from_str(text)?;
        let mut entries = IndexMap::with_capacity(file.crates.len());
        let mut spelled: IndexMap<String, CrateName> = IndexMap::new();
        for (name, written) in file.crates {
            let entry = written.check(&name)?;
            if let Some(first) = spelled.insert(name.canonical(), name.clone()) {
                return Err(DenylistError::Twice(first, name));
            }
            entries.insert(name.canonical(), entry);
        }
        let used = DenylistUsed {
            name: "a denylist".to_owned(),
            crates: entries.len() as u64,
            sha256: Some(sha256(text)),
        };
        Ok(Self { entries, used })
    }
}

fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Denylist {
    /// The same, with a name for people.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.used.name = name.into();
        self
    }

    /// Which one it is.
    pub fn used(&self) -> &DenylistUsed {
        &self.used
    }

    /// How many crates it names.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What it says of `krate`: whether it is left out, and how it is run otherwise.
    pub fn judge(&self, krate: &Crate) -> (Option<Skip>, CrateOptions) {
        let entry = self.entries.get(&krate.name.canonical()).filter(|e| {
            e.version
                .as_ref()
                .is_none_or(|req| matches_any_build(req, &krate.version))
        });
        match entry {
            Some(entry) => (entry.skip.clone(), entry.options),
            None => (None, CrateOptions::default()),
        }
    }
}

/// A pre-release matches as the release it becomes does: who excludes `<2` means `2.0.0-rc.1`
/// not, but `1.0.0-rc.1` certainly.
fn matches_any_build(req: &VersionReq, version: &semver::Version) -> bool {
    let released = semver::Version::new(version.major, version.minor, version.patch);
    req.matches(version) || (!version.pre.is_empty() && req.matches(&released))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::krate::Source;

    fn krate(name: &str, version: &str) -> Crate {
        Crate {
            name: CrateName::new(name).expect("valid"),
            version: version.parse().expect("valid"),
            source: Source::Local {
                path: "/x".to_owned(),
                root: None,
            },
        }
    }

    fn error(text: &str) -> String {
        text.parse::<Denylist>().expect_err(text).to_string()
    }

    #[test]
    fn which_one_counts_can_be_told() {
        let text = "[crates.a]\nskip = true\nreason = \"r\"";
        let list: Denylist = text.parse().expect("valid");
        let used = list.named("ours").used().clone();
        assert_eq!((used.name.as_str(), used.crates), ("ours", 1));
        let sha256 = used.sha256.expect("of a text");
        assert_eq!(sha256.len(), 64);
        let other: Denylist = format!("{text}\n# more").parse().expect("valid");
        assert_ne!(other.used().sha256, Some(sha256), "another text");
        assert_eq!(Denylist::default().used().name, "none");
    }

    #[test]
    fn names_are_compared_as_registries_do() {
        let list: Denylist = "[crates.Foo_Bar]\nskip = true\nreason = \"r\""
            .parse()
            .expect("valid");
        assert!(list.judge(&krate("foo-bar", "1.0.0")).0.is_some());
        assert!(list.judge(&krate("foo", "1.0.0")).0.is_none());
    }

    #[test]
    fn a_version_requirement_narrows_an_entry() {
        let list: Denylist = "[crates.a]\nbroken = true\nversion = \"<2\"\nreason = \"r\""
            .parse()
            .expect("valid");
        for (version, hit) in [("1.9.0", true), ("2.0.0", false), ("1.0.0-rc.1", true)] {
            assert_eq!(
                list.judge(&krate("a", version)).0.is_some(),
                hit,
                "{version}"
            );
        }
    }

    #[test]
    fn options_do_not_leave_a_crate_out() {
        let list: Denylist = "[crates.a]\nquiet = true\nskip-tests = true\nreason = \"r\""
            .parse()
            .expect("valid");
        let (skip, options) = list.judge(&krate("a", "1.0.0"));
        assert!(skip.is_none());
        assert!(options.quiet && options.skip_tests);
    }

    #[test]
    fn limits_alone_are_an_effect() {
        let list: Denylist = "[crates.a]\nlimits = { memory-mib = 8192 }\nreason = \"r\""
            .parse()
            .expect("valid");
        let (skip, options) = list.judge(&krate("a", "1.0.0"));
        assert!(skip.is_none());
        assert_eq!(options.limits.memory_bytes, Some(8192 << 20));
    }

    #[test]
    fn limits_that_cannot_be_are_named_with_their_entry() {
        let with = |limits: &str| error(&format!("[crates.a]\nreason = \"r\"\n{limits}"));
        let unknown = with("limits = { memory = 8192 }");
        assert!(unknown.starts_with("`limits` of the entry `a`: `memory` is no limit"));
        assert!(with("limits.pids = 1").contains("`limits` of the entry `a`: `pids` must be"));
        assert!(with("limits = {}").contains("of the entry `a`: it is empty"));
        assert!(with("limits = 3").contains("limits"));
        let both = with("quiet = true\nlimits.no-progress-seconds = 9");
        assert!(both.contains("`a` has `quiet` and the limit `no-progress-seconds`"));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(error("[crates.a]\nskip = true\nreason = \" \"").contains("`a` has no reason"));
        assert!(error("[crates.a]\nreason = \"r\"").contains("`a` has no effect"));
        assert!(error("[crates.a]\nskp = true\nreason = \"r\"").contains("skp"));
        assert!(error("[crate.a]\nskip = true").contains("crate"));
        assert!(error("[crates.'a b']\nskip = true\nreason = \"r\"").contains("`a b`"));
        let twice = "[crates.a-b]\nskip=true\nreason=\"r\"\n[crates.a_b]\nskip=true\nreason=\"r\"";
        assert!(error(twice).contains("same crate"));
    }

    #[test]
    fn an_empty_file_is_an_empty_list() {
        assert!("".parse::<Denylist>().expect("valid").is_empty());
    }
}
