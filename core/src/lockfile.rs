//! Lockfiles: which releases they name, and in which format.

use std::collections::BTreeSet;

use cargo_lock::Lockfile;
use cargo_lock::package::SourceKind;

use crate::krate::{Checksum, CrateName, Release};

/// Why a lockfile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockfileError {
    /// It cannot be read.
    #[error("`Cargo.lock` cannot be read: {0}")]
    Syntax(String),
    /// A package that comes from somewhere else than a registry.
    #[error("`Cargo.lock` takes `{package}` from `{source_id}`, which is no registry")]
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

/// Reads the registry releases that `text` names, sorted; the package itself, which has no source,
/// is left out.
///
/// # Errors
/// [`LockfileError`] when it cannot be read, or names what is in no registry.
pub fn releases(text: &str) -> Result<BTreeSet<Release>, LockfileError> {
    let lockfile: Lockfile = text
        .parse()
        .map_err(|e: cargo_lock::Error| LockfileError::Syntax(e.to_string()))?;
    let mut releases = BTreeSet::new();
    for package in lockfile.packages {
        let shown = format!("{} {}", package.name, package.version);
        let Some(source) = &package.source else {
            continue;
        };
        if !matches!(
            source.kind(),
            SourceKind::Registry | SourceKind::SparseRegistry
        ) {
            return Err(LockfileError::Foreign {
                package: shown,
                source_id: source.to_string(),
            });
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
/// Formats 3 and 4 differ only in how addresses of git repositories are escaped, so where there
/// is no such package the number is all that changes.
pub fn lowered(text: &str, newest: u32) -> Option<String> {
    let now = version(text);
    if now <= newest {
        return Some(text.to_owned());
    }
    if now != 4 || newest != 3 || text.contains("source = \"git+") {
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

    #[test]
    fn git_packages_are_named() {
        let e = releases(&lock(3, "git+https://g.invalid/serde#abc")).expect_err("git");
        assert!(e.to_string().contains("serde 1.0.0"), "{e}");
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
        assert_eq!(
            lowered(&lock(4, "git+https://g.invalid/serde#abc"), 3),
            None
        );
    }

    #[test]
    fn a_lockfile_without_dependencies_names_no_release() {
        let text = without_dependencies("me", "0.1.0");
        assert!(releases(&text).expect("valid").is_empty());
        assert_eq!(version(&text), 3);
    }
}
