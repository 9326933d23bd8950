//! Toolchains as an experiment names them: a source, then modifiers; and what a toolchain says of
//! itself.
//!
//! ```text
//! spec      = source *( "+" key "=" value )
//! source    = rustup name | "path:" directory | "master#" commit | "try#" commit
//! key       = "target" | "rustflags" | "rustdocflags" | "cargoflags" | "patch"
//! patch     = crate "=" url [ "=" branch ] | crate "=path:" directory
//! ```
//!
//! A modifier starts where `+` is followed by letters, `-` or `_`, and `=`, so that a value may hold
//! a `+` of its own (`+rustflags=-Ctarget-feature=+avx2`). Reading is in `toolchain_parse.rs`.
//! Finding a toolchain on a machine, and putting a patch into a build, is the agent's work; this
//! module knows text only.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::git::{Commit, GitUrl};
use crate::krate::CrateName;

pub use crate::toolchain_parse::ToolchainError;

/// Where a toolchain comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ToolchainSource {
    /// A name that rustup knows: a channel, a date, a release, or a linked toolchain.
    Rustup(String),
    /// A directory that holds `bin/rustc` and `bin/cargo`.
    Path(String),
    /// What the compiler's continuous integration built of a commit.
    Commit {
        /// What kind of build it was.
        kind: CommitKind,
        /// The commit that was built: a merge.
        sha: Commit,
    },
}

/// What a commit of the compiler was built for. Both kinds are kept in one place; the word is for
/// people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommitKind {
    /// Merged into the main branch.
    Master,
    /// A try build of a pull request.
    Try,
}

impl CommitKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Master, Self::Try];

    /// What stands before `#`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Try => "try",
        }
    }
}

/// A toolchain with its modifiers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ToolchainSpec {
    /// Where it comes from.
    pub source: ToolchainSource,
    /// What is built for, where that is said: a target's name, such as `i686-unknown-linux-gnu`.
    pub target: Option<String>,
    /// Flags for rustc, split at white space as cargo splits `RUSTFLAGS`.
    pub rustflags: Vec<String>,
    /// Flags for rustdoc, split likewise.
    pub rustdocflags: Vec<String>,
    /// Arguments for every cargo command that builds, split likewise.
    pub cargoflags: Vec<String>,
    /// Crates that are built from somewhere else, at most one for each name, as they were given.
    pub patches: Vec<Patch>,
}

/// A crate that every build with a toolchain takes from somewhere else, as `[patch]` of a manifest
/// says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Patch {
    /// The crate.
    pub name: CrateName,
    /// Where it is taken from.
    pub source: PatchSource,
}

/// Where a patched crate is taken from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PatchSource {
    /// A git repository.
    Git {
        /// Its address.
        url: GitUrl,
        /// A branch of it; `None`: what the repository itself points to.
        branch: Option<String>,
    },
    /// A directory, of a crate or of a workspace that has it.
    Path(String),
}

impl ToolchainSpec {
    /// A toolchain without modifiers.
    pub fn plain(source: ToolchainSource) -> Self {
        Self {
            source,
            target: None,
            rustflags: Vec::new(),
            rustdocflags: Vec::new(),
            cargoflags: Vec::new(),
            patches: Vec::new(),
        }
    }

    /// Whether the flags deny or forbid a lint: those for rustc and rustdoc, and what follows `--`
    /// in those for cargo, which clippy reads.
    pub fn raises_lints(&self) -> bool {
        let behind = self.cargoflags.iter().skip_while(|flag| *flag != "--");
        let flags = self.rustflags.iter().chain(&self.rustdocflags);
        flags.chain(behind).any(|flag| {
            ["-D", "-F", "--deny", "--forbid"]
                .iter()
                .any(|raise| flag.starts_with(raise))
        })
    }

    /// Whether the flags for cargo go on behind a `--`: only clippy passes on what follows.
    pub fn passes_arguments_on(&self) -> bool {
        self.cargoflags.iter().any(|flag| flag == "--")
    }

    /// The target, where it is another than the machine's own: what is built for it cannot be run.
    /// `host` is [`ToolchainInfo::host`].
    pub fn foreign_target(&self, host: Option<&str>) -> Option<&str> {
        self.target.as_deref().filter(|target| host != Some(target))
    }
}

impl fmt::Display for ToolchainSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustup(name) => f.write_str(name),
            Self::Path(dir) => write!(f, "path:{dir}"),
            Self::Commit { kind, sha } => write!(f, "{}#{sha}", kind.name()),
        }
    }
}

impl fmt::Display for ToolchainSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        if let Some(target) = &self.target {
            write!(f, "+target={target}")?;
        }
        for (key, flags) in [
            ("rustflags", &self.rustflags),
            ("rustdocflags", &self.rustdocflags),
            ("cargoflags", &self.cargoflags),
        ] {
            if !flags.is_empty() {
                write!(f, "+{key}={}", flags.join(" "))?;
            }
        }
        for patch in &self.patches {
            write!(f, "+patch={patch}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.name)?;
        match &self.source {
            PatchSource::Git { url, branch: None } => write!(f, "{url}"),
            PatchSource::Git {
                url,
                branch: Some(branch),
            } => write!(f, "{url}={branch}"),
            PatchSource::Path(dir) => write!(f, "path:{dir}"),
        }
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

    /// The target that the compiler itself runs on, such as `x86_64-unknown-linux-gnu`.
    pub fn host(&self) -> Option<&str> {
        let line = self.rustc.lines().find_map(|l| l.strip_prefix("host: "))?;
        Some(line.trim())
    }

    /// Whether it is a nightly compiler, or one that somebody built from its source: those that
    /// take `-Z` options.
    pub fn is_nightly(&self) -> bool {
        let release = self.rustc.lines().find_map(|l| l.strip_prefix("release: "));
        release.is_some_and(|r| r.contains("-nightly") || r.contains("-dev"))
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
#[path = "toolchain_tests.rs"]
mod tests;
