//! Why a step failed, from what was seen: exit, cargo's messages, the units, the sandbox.
//!
//! A pure function of [`Evidence`]; the readers of single lines of cargo's are here too, so that
//! everything that depends on cargo's wording is in one place.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::LimitHit;
use crate::outcome::{Diagnostic, PackageRef, Reason, StepExit, UnitKey, UnitKind, UnitStatus};

/// The error of a compiler that does not allow `#![feature]`.
const FEATURE_GATE: &str = "E0554";

/// What is known of a step when it ends.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// How its process ended.
    pub exit: StepExit,
    /// Whether a process was killed for memory.
    pub oom: bool,
    /// The crate's own units.
    pub units: &'a BTreeMap<UnitKey, UnitStatus>,
    /// The errors.
    pub diagnostics: &'a [Diagnostic],
    /// Dependencies that failed themselves.
    pub failed_dependencies: &'a BTreeSet<PackageRef>,
    /// Whether the crate's own build script ran and failed.
    pub own_script_failed: bool,
}

/// The reason of a failed step; `None` for one that succeeded.
pub fn reason(evidence: &Evidence<'_>) -> Option<Reason> {
    if evidence.exit.success() {
        return None;
    }
    if let StepExit::Limit(limit) = evidence.exit {
        return Some(Reason::Limit { limit });
    }
    if evidence.oom {
        let limit = LimitHit::Oom;
        return Some(Reason::Limit { limit });
    }
    if let Some(crash) = evidence.diagnostics.iter().find(|d| d.ice) {
        let package = crash.package.clone();
        return Some(Reason::Ice { package });
    }
    let has = |status| evidence.units.values().any(|s| *s == status);
    if has(UnitStatus::Fail) {
        let codes = evidence
            .diagnostics
            .iter()
            .filter(|d| d.own)
            .filter_map(|d| d.code.clone())
            .collect();
        return Some(Reason::CompilerError { codes });
    }
    if !evidence.failed_dependencies.is_empty() {
        return Some(dependency_reason(evidence));
    }
    if evidence.own_script_failed {
        return Some(Reason::BuildScript);
    }
    if has(UnitStatus::NeedsNightly) {
        return Some(Reason::NeedsNightly);
    }
    Some(Reason::Unknown)
}

fn dependency_reason(evidence: &Evidence<'_>) -> Reason {
    let gated = |package: &PackageRef| {
        evidence
            .diagnostics
            .iter()
            .any(|d| d.package == *package && d.code.as_deref() == Some(FEATURE_GATE))
    };
    if evidence.failed_dependencies.iter().all(gated) {
        Reason::NeedsNightly
    } else {
        Reason::DependsOn {
            packages: evidence.failed_dependencies.clone(),
        }
    }
}

/// Whether a failed unit of the crate itself uses `#![feature]` where that is not allowed.
pub fn needs_nightly(diagnostics: &[Diagnostic], unit: &UnitKey) -> bool {
    diagnostics.iter().any(|d| {
        d.own
            && d.unit.kind == unit.kind
            && d.unit.name == unit.name
            && d.code.as_deref() == Some(FEATURE_GATE)
    })
}

/// Whether a diagnostic only counts others: `aborting due to 2 previous errors`.
pub fn is_summary(message: &str) -> bool {
    message.starts_with("aborting due to ")
        || message.starts_with("For more information about this error")
        || message.starts_with("Some errors have detailed explanations")
}

/// Reads ``error: could not compile `itoa` (lib test) due to 2 previous errors``: the package, and
/// the unit where cargo names it (since 1.67). A library and a build script have no name there.
pub fn could_not_compile(line: &str) -> Option<(String, Option<UnitKey>)> {
    let rest = line.strip_prefix("error: could not compile `")?;
    let (package, rest) = rest.split_once('`')?;
    let unit = rest
        .strip_prefix(" (")
        .and_then(|r| r.split_once(')'))
        .and_then(|(inner, _)| unit_description(inner));
    Some((package.to_owned(), unit))
}

/// Reads `lib`, `lib test`, `bin "x"`, `bin "x" test`, `test "x"`, `example "x"`, `bench "x"`,
/// `build script`.
fn unit_description(inner: &str) -> Option<UnitKey> {
    let key = |kind, name: &str, harness| {
        Some(UnitKey {
            kind,
            name: name.to_owned(),
            harness,
        })
    };
    match inner {
        "lib" => return key(UnitKind::Lib, "", false),
        "lib test" => return key(UnitKind::Lib, "", true),
        "build script" => return key(UnitKind::BuildScript, "", false),
        _ => {}
    }
    let (word, rest) = inner.split_once(" \"")?;
    let (name, after) = rest.split_once('"')?;
    let harness = after.trim() == "test";
    match word {
        "bin" => key(UnitKind::Bin, name, harness),
        "example" => key(UnitKind::Example, name, harness),
        "test" => key(UnitKind::Test, name, true),
        "bench" => key(UnitKind::Bench, name, true),
        _ => None,
    }
}

/// Reads ``error: failed to run custom build command for `openssl-sys v0.9.0` ``.
pub fn failed_build_script(line: &str) -> Option<PackageRef> {
    let rest = line.strip_prefix("error: failed to run custom build command for `")?;
    let (package, _) = rest.split_once('`')?;
    let mut words = package.split(' ');
    let name = words.next()?.to_owned();
    let version = words
        .next()
        .and_then(|v| v.strip_prefix('v'))
        .and_then(|v| semver::Version::parse(v).ok());
    Some(PackageRef { name, version })
}

/// The package that cargo did not find in the index while resolving, from its error: either
/// ``no matching package named `x` found`` or, in older and newer forms, ``no matching package
/// found`` followed by ``searched package name: `x` ``.
pub fn missing_package(lines: &[String]) -> Option<&str> {
    let quoted = |line: &'_ str, before: &str| -> Option<(usize, usize)> {
        let start = line.find(before)? + before.len();
        let length = line[start..].find('`')?;
        Some((start, start + length))
    };
    lines.iter().find_map(|line| {
        let (start, end) = quoted(line, "no matching package named `")
            .or_else(|| quoted(line, "searched package name: `"))?;
        Some(&line[start..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_names_the_units_it_could_not_compile() {
        let unit = |kind, name: &str, harness| {
            Some(UnitKey {
                kind,
                name: name.to_owned(),
                harness,
            })
        };
        let table = [
            (
                "error: could not compile `a` (lib) due to 1 previous error",
                unit(UnitKind::Lib, "", false),
            ),
            (
                "error: could not compile `a` (lib test) due to 2 previous errors; 1 warning emitted",
                unit(UnitKind::Lib, "", true),
            ),
            (
                "error: could not compile `a` (bin \"b\") due to 1 previous error",
                unit(UnitKind::Bin, "b", false),
            ),
            (
                "error: could not compile `a` (bin \"b\" test) due to 1 previous error",
                unit(UnitKind::Bin, "b", true),
            ),
            (
                "error: could not compile `a` (test \"t\")",
                unit(UnitKind::Test, "t", true),
            ),
            (
                "error: could not compile `a` (bench \"t\")",
                unit(UnitKind::Bench, "t", true),
            ),
            (
                "error: could not compile `a` (example \"e\")",
                unit(UnitKind::Example, "e", false),
            ),
            (
                "error: could not compile `a` (build script) due to 1 previous error",
                unit(UnitKind::BuildScript, "", false),
            ),
            ("error: could not compile `a` due to previous error", None),
        ];
        for (line, expected) in table {
            assert_eq!(
                could_not_compile(line),
                Some(("a".to_owned(), expected)),
                "{line}"
            );
        }
        assert_eq!(could_not_compile("  error: could not compile `a`"), None);
    }

    #[test]
    fn failed_build_scripts_are_named_with_their_version() {
        let line =
            "error: failed to run custom build command for `a-sys v1.2.3 (/ejecta/job/source)`";
        let package = failed_build_script(line).expect("a build script");
        assert_eq!(package.to_string(), "a-sys 1.2.3");
    }

    #[test]
    fn a_package_missing_from_the_index_is_named() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let old = lines("error: no matching package named `a-b` found\nlocation searched: x\n");
        assert_eq!(missing_package(&old), Some("a-b"));
        let other = lines("error: no matching package found\nsearched package name: `a_b`\n");
        assert_eq!(missing_package(&other), Some("a_b"));
        let version = lines("error: failed to select a version for the requirement `a = \"^9\"`");
        assert_eq!(missing_package(&version), None);
    }

    fn evidence_of(exit: StepExit) -> Option<Reason> {
        reason(&Evidence {
            exit,
            oom: false,
            units: &BTreeMap::new(),
            diagnostics: &[],
            failed_dependencies: &BTreeSet::new(),
            own_script_failed: false,
        })
    }

    #[test]
    fn success_has_no_reason_and_limits_are_named() {
        assert_eq!(evidence_of(StepExit::Code(0)), None);
        assert_eq!(evidence_of(StepExit::Code(101)), Some(Reason::Unknown));
        let limit = LimitHit::NoProgress;
        assert_eq!(
            evidence_of(StepExit::Limit(limit)),
            Some(Reason::Limit { limit })
        );
    }
}
