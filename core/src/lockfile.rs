//! Lockfiles: which releases they name, and in which format.

use std::collections::BTreeSet;

use cargo_lock::package::{SourceId, SourceKind};
use cargo_lock::{Lockfile, Package};
use semver::Version;

use crate::git::GitUrl;
use crate::krate::{Checksum, CrateName, Release};
use crate::unprepared::UnpreparedReason;

/// Why a lockfile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockfileError {
    /// It cannot be read.
    #[error("`Cargo.lock` cannot be read: {0}")]
    Syntax(String),
    /// A package that comes neither from a registry nor from a repository that can be fetched.
    #[error("`Cargo.lock` takes `{package}` from `{source_id}`, which cannot be had")]
    Foreign {
        /// The package.
        package: String,
        /// Its source as the lockfile has it.
        source_id: String,
    },
    /// A registry package without a checksum, so nothing can be verified.
    #[error("`Cargo.lock` has no checksum for `{0}`")]
    NoChecksum(String),
}

impl LockfileError {
    /// What kind of fault it is.
    pub fn reason(&self) -> UnpreparedReason {
        match self {
            Self::Syntax(_) | Self::NoChecksum(_) => UnpreparedReason::Lockfile,
            Self::Foreign { .. } => UnpreparedReason::MissingDeps,
        }
    }
}

/// Reads the registry releases that `text` names, sorted; packages of repositories and those
/// without a source, which are the crate's own, are left out.
///
/// # Errors
/// [`LockfileError`] when it cannot be read, or names what cannot be had.
pub fn releases(text: &str) -> Result<BTreeSet<Release>, LockfileError> {
    let mut releases = BTreeSet::new();
    for package in packages(text)? {
        let shown = shown(&package);
        let Some(source) = &package.source else {
            continue;
        };
        if is_git(source) {
            repository(&package, source)?;
            continue;
        }
        if !is_registry(source) {
            return Err(foreign(&package, source));
        }
        let checksum = package
            .checksum
            .and_then(|sum| Checksum::new(sum.to_string()).ok())
            .ok_or_else(|| LockfileError::NoChecksum(shown.clone()))?;
        let name = CrateName::new(package.name.as_str())
            .map_err(|e| LockfileError::Syntax(e.to_string()))?;
        releases.insert(Release {
            name,
            version: package.version,
            checksum,
        });
    }
    Ok(releases)
}

/// The repositories that `text` takes packages from.
///
/// # Errors
/// [`LockfileError`] when it cannot be read, or names a repository that cannot be fetched.
pub fn repositories(text: &str) -> Result<BTreeSet<GitUrl>, LockfileError> {
    let packages = packages(text)?;
    let sources = packages
        .iter()
        .filter_map(|p| Some((p, p.source.as_ref()?)));
    sources
        .filter(|(_, source)| is_git(source))
        .map(|(package, source)| repository(package, source))
        .collect()
}

/// The versions of a package, by whether they come from somewhere else (`true`) or from a
/// directory.
///
/// # Errors
/// [`LockfileError::Syntax`].
pub fn versions(text: &str, name: &CrateName) -> Result<Vec<(Version, bool)>, LockfileError> {
    let packages = packages(text)?.into_iter();
    Ok(packages
        .filter(|package| package.name.as_str() == name.as_str())
        .map(|package| (package.version, package.source.is_some()))
        .collect())
}

fn packages(text: &str) -> Result<Vec<Package>, LockfileError> {
    let lockfile: Lockfile = text
        .parse()
        .map_err(|e: cargo_lock::Error| LockfileError::Syntax(e.to_string()))?;
    Ok(lockfile.packages)
}

fn shown(package: &Package) -> String {
    format!("{} {}", package.name, package.version)
}

fn foreign(package: &Package, source: &SourceId) -> LockfileError {
    LockfileError::Foreign {
        package: shown(package),
        source_id: source.to_string(),
    }
}

fn is_registry(source: &SourceId) -> bool {
    matches!(
        source.kind(),
        SourceKind::Registry | SourceKind::SparseRegistry
    )
}

fn is_git(source: &SourceId) -> bool {
    matches!(source.kind(), SourceKind::Git(_))
}

fn repository(package: &Package, source: &SourceId) -> Result<GitUrl, LockfileError> {
    GitUrl::of_cargo(source.url().as_str()).map_err(|_| foreign(package, source))
}

/// The format of a lockfile: its `version`, or 2 where it has none (1 and 2 are told apart only
/// by where the checksums are, and every cargo that has a sparse registry reads both).
pub fn version(text: &str) -> u32 {
    text.lines()
        .take_while(|line| !line.starts_with("[["))
        .find_map(|line| line.strip_prefix("version = "))
        .and_then(|v| v.trim().parse().ok())
        .unwrap_or(2)
}

/// The same lockfile in a format that a cargo which reads up to `newest` can read; `None` where
/// that cannot be.
///
/// Formats 3 and 4 differ only in how revisions of git repositories are escaped, so where none is
/// the number is all that changes.
pub fn lowered(text: &str, newest: u32) -> Option<String> {
    let now = version(text);
    if now <= newest {
        return Some(text.to_owned());
    }
    let is_escaped = |line: &str| line.starts_with("source = \"git+") && line.contains('%');
    if now != 4 || newest != 3 || text.lines().any(is_escaped) {
        return None;
    }
    Some(text.replacen("version = 4", "version = 3", 1))
}

/// The lockfile of a package without dependencies; it needs no resolver.
pub fn without_dependencies(name: &str, version: &str) -> String {
    format!("version = 3\n\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn lock(version: u32, source: &str) -> String {
        format!(
            "# @generated\nversion = {version}\n\n[[package]]\nname = \"me\"\nversion = \"0.1.0\"\ndependencies = [\n \"serde\",\n]\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"{source}\"\nchecksum = \"{SUM}\"\n"
        )
    }

    const REGISTRY: &str = "registry+https://r.invalid/index";

    #[test]
    fn releases_are_all_but_the_package_itself() {
        for version in [3, 4] {
            let all = releases(&lock(version, REGISTRY)).expect("valid");
            let names: Vec<&str> = all.iter().map(|r| r.name.as_str()).collect();
            assert_eq!(names, ["serde"]);
        }
    }

    #[test]
    fn the_oldest_format_has_its_checksums_at_the_end() {
        let text = format!(
            "[[package]]\nname = \"me\"\nversion = \"0.1.0\"\ndependencies = [\n \"serde 1.0.0 ({REGISTRY})\",\n]\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"{REGISTRY}\"\n\n[metadata]\n\"checksum serde 1.0.0 ({REGISTRY})\" = \"{SUM}\"\n"
        );
        assert_eq!(releases(&text).expect("valid").len(), 1);
        assert_eq!(version(&text), 2);
    }

    const GIT: &str =
        "git+https://g.invalid/serde?branch=x#0123456789012345678901234567890123456789";

    #[test]
    fn packages_of_repositories_are_told() {
        let text = lock(3, GIT);
        assert!(releases(&text).expect("valid").is_empty());
        let found = repositories(&text).expect("valid");
        let found: Vec<&str> = found.iter().map(GitUrl::as_str).collect();
        assert_eq!(found, ["https://g.invalid/serde"]);
        for odd in ["git+ssh://git@g.invalid/serde#0123", "git+file:///etc#0123"] {
            let text = lock(3, odd);
            for e in [releases(&text).err(), repositories(&text).err()] {
                let e = e.expect("cannot be had").to_string();
                assert!(e.contains("serde 1.0.0"), "{e}");
            }
        }
    }

    #[test]
    fn versions_know_where_they_come_from() {
        let name = |name| CrateName::new(name).expect("a name");
        let of = |n| versions(&lock(4, REGISTRY), &name(n)).expect("valid");
        assert_eq!(of("serde"), [(Version::new(1, 0, 0), true)]);
        assert_eq!(of("me"), [(Version::new(0, 1, 0), false)]);
        assert_eq!(of("other"), []);
    }

    #[test]
    fn a_new_format_is_lowered_for_an_old_cargo() {
        let four = lock(4, REGISTRY);
        assert_eq!(version(&four), 4);
        assert_eq!(lowered(&four, 4), Some(four.clone()));
        let three = lowered(&four, 3).expect("no git");
        assert_eq!(version(&three), 3);
        assert_eq!(
            releases(&three).expect("valid"),
            releases(&four).expect("valid")
        );
        assert_eq!(lowered(&four, 2), None);
        assert!(lowered(&lock(4, GIT), 3).is_some());
        assert_eq!(lowered(&lock(4, &GIT.replace("=x", "=x%2Fy")), 3), None);
    }

    #[test]
    fn a_lockfile_without_dependencies_names_no_release() {
        let text = without_dependencies("me", "0.1.0");
        assert!(releases(&text).expect("valid").is_empty());
        assert_eq!(version(&text), 3);
    }
}
