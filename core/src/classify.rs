//! Why a step failed, from what was seen: exit, cargo's messages, the units, the sandbox.
//!
//! A pure function of [`Evidence`]; the readers of single lines of cargo's are here too, so that
//! everything that depends on cargo's wording is in one place.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::LimitHit;
use crate::outcome::{
    Diagnostic, Need, PackageRef, Reason, StepExit, UnitKey, UnitKind, UnitStatus,
};
use crate::patterns::{Heard, Speaker};
use crate::test_step;

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
    /// What was heard from the crate's own build script, where that ran and failed.
    pub own_script: Option<&'a Heard>,
    /// The same of those of dependencies.
    pub dependency_scripts: Vec<(&'a PackageRef, &'a Heard)>,
    /// What the compiler and the linker said of the machine.
    pub heard: &'a Heard,
    /// Who asks for which newer Rust, where cargo refused for that.
    pub rust_version: Option<(PackageRef, String)>,
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
    // A compiler that has no room or no memory may look as if it had crashed.
    let exhausted = |need: &&Need| matches!(need, Need::NoSpace | Need::Oom);
    if let Some(need) = evidence.heard.needs.iter().find(exhausted) {
        return Some(Reason::Environment { need: *need });
    }
    if let Some(crash) = evidence.diagnostics.iter().find(|d| d.ice) {
        let package = crash.package.clone();
        return Some(Reason::Ice { package });
    }
    if let Some((package, required)) = &evidence.rust_version {
        let (package, required) = (package.clone(), required.clone());
        return Some(Reason::RustVersion { package, required });
    }
    Some(own_reason(evidence))
}

/// The reason where nothing is wrong with the machine or the compiler.
fn own_reason(evidence: &Evidence<'_>) -> Reason {
    let has = |status| evidence.units.values().any(|s| *s == status);
    let failed = || evidence.diagnostics.iter().filter(|d| d.own);
    if has(UnitStatus::Fail) {
        let tests = |d: &&Diagnostic| is_of_test(d);
        let compiled: Vec<&Diagnostic> = failed().filter(|d| !is_of_test(d)).collect();
        if compiled.is_empty() && failed().any(|d| tests(&d)) {
            return test_step::reason(failed());
        }
        let libraries = missing_at_link(&compiled);
        if !libraries.is_empty() {
            return Reason::MissingSystemLibrary { names: libraries };
        }
        let codes = compiled.iter().filter_map(|d| d.code.clone()).collect();
        return Reason::CompilerError { codes };
    }
    if !evidence.failed_dependencies.is_empty() {
        return dependency_reason(evidence);
    }
    if let Some(heard) = evidence.own_script {
        return script_reason(heard).unwrap_or(Reason::BuildScript);
    }
    if has(UnitStatus::NeedsNightly) {
        return Reason::NeedsNightly;
    }
    Reason::Unknown
}

/// Whether an error is that of a test or doctest that ran, and not of a compilation.
fn is_of_test(d: &Diagnostic) -> bool {
    d.test.is_some() || (d.code.is_none() && d.message.starts_with(test_step::PROGRAM_FAILED))
}

/// The libraries that the linker did not find, where that is all that went wrong.
fn missing_at_link(errors: &[&Diagnostic]) -> BTreeSet<String> {
    let of_one = |d: &&Diagnostic| {
        if is_linking(&d.message) {
            Heard::text(Speaker::Compiler, &d.rendered).libraries
        } else {
            BTreeSet::new()
        }
    };
    let each: Vec<BTreeSet<String>> = errors.iter().map(of_one).collect();
    if each.iter().any(BTreeSet::is_empty) {
        return BTreeSet::new();
    }
    each.into_iter().flatten().collect()
}

/// Why a build script failed, where its words tell.
fn script_reason(heard: &Heard) -> Option<Reason> {
    if !heard.libraries.is_empty() {
        let names = heard.libraries.clone();
        return Some(Reason::MissingSystemLibrary { names });
    }
    let need = heard.needs.first().copied()?;
    Some(Reason::Environment { need })
}

/// Whether a diagnostic is that a linker failed.
pub fn is_linking(message: &str) -> bool {
    message.starts_with("linking with `")
}

fn dependency_reason(evidence: &Evidence<'_>) -> Reason {
    let gated = |package: &PackageRef| {
        evidence
            .diagnostics
            .iter()
            .any(|d| d.package == *package && d.code.as_deref() == Some(FEATURE_GATE))
    };
    if let Some(reason) = common_script_reason(evidence) {
        return reason;
    }
    if evidence.failed_dependencies.iter().all(gated) {
        Reason::NeedsNightly
    } else {
        Reason::DependsOn {
            packages: evidence.failed_dependencies.clone(),
        }
    }
}

/// What the build scripts of all failed dependencies want, where that is what failed.
fn common_script_reason(evidence: &Evidence<'_>) -> Option<Reason> {
    let mut all = Heard::default();
    for package in evidence.failed_dependencies {
        let mut of = evidence.dependency_scripts.iter();
        let (_, heard) = of.find(|(of, _)| *of == package)?;
        script_reason(heard)?;
        all.needs.extend(heard.needs.iter().copied());
        all.libraries.extend(heard.libraries.iter().cloned());
    }
    script_reason(&all)
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
        || message.ends_with(" warning emitted")
        || message.ends_with(" warnings emitted")
}

/// Reads ``error: could not compile `itoa` (lib test) due to 2 previous errors``: the package, and
/// the unit where cargo names it (since 1.67). A library and a build script have no name there.
/// Of documentation it says ``error: could not document `itoa` ``.
pub fn could_not_compile(line: &str) -> Option<(String, Option<UnitKey>)> {
    let rest = line.strip_prefix("error: could not ")?;
    let rest = rest
        .strip_prefix("compile `")
        .or(rest.strip_prefix("document `"))?;
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

/// Who asks for a newer Rust than the toolchain is, and for which, from cargo's error:
/// ``error: package `x v1.0.0` cannot be built because it requires rustc 1.85 or newer, …``; since
/// 1.76, ``error: rustc 1.75.0 is not supported by the following package:`` and then lines of
/// `  x@1.0.0 requires rustc 1.85`; and that of a cargo older than the edition of a manifest.
pub fn needs_newer_rust(lines: &[String]) -> Option<(PackageRef, String)> {
    let first = lines.first()?;
    if let Some(rest) = first.strip_prefix("error: package `") {
        let (package, rest) = rest.split_once("` cannot be built because it requires rustc ")?;
        let required = rest.split([' ', ',']).next()?;
        let (name, version) = package.split_once(" v").unwrap_or((package, ""));
        let version = version.split(' ').next().unwrap_or("");
        return Some((package_ref(name, version), required.to_owned()));
    }
    if first.starts_with("error: rustc ") && first.contains(" is not supported by the following") {
        return lines.iter().skip(1).find_map(|line| {
            let (package, required) = line.trim().split_once(" requires rustc ")?;
            let (name, version) = package.split_once('@')?;
            Some((package_ref(name, version), required.trim().to_owned()))
        });
    }
    if !first.starts_with("error: failed to ") {
        return None;
    }
    let required = lines.iter().find_map(|line| edition_needs(line))?;
    // The manifest is in a directory that is named after the package.
    let manifest = lines.iter().find_map(|l| l.split_once("/Cargo.toml`"))?.0;
    let package = package_of_directory(manifest.rsplit('/').next()?);
    Some((package, required.to_owned()))
}

/// The Rust that an edition needs which the line calls too new: that of a cargo that knew of it, or
/// of one that did not.
fn edition_needs(line: &str) -> Option<&'static str> {
    if line.contains("feature `edition2024` is required") {
        return Some("1.85");
    }
    let (_, rest) = line.split_once("this version of Cargo is older than the `")?;
    match rest.split('`').next()? {
        "2018" => Some("1.31"),
        "2021" => Some("1.56"),
        "2024" => Some("1.85"),
        _ => None,
    }
}

/// Reads `NAME-VERSION`, perhaps with a checksum after it as directories of the store have it.
fn package_of_directory(dir: &str) -> PackageRef {
    let is_sum = |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let release = match dir.rsplit_once('-') {
        Some((release, sum)) if is_sum(sum) => release,
        _ => dir,
    };
    let mut splits = release.match_indices('-').map(|(at, _)| at);
    let at = splits.find(|at| semver::Version::parse(&release[at + 1..]).is_ok());
    at.map_or_else(
        || package_ref(release, ""),
        |at| package_ref(&release[..at], &release[at + 1..]),
    )
}

fn package_ref(name: &str, version: &str) -> PackageRef {
    PackageRef {
        name: name.to_owned(),
        version: semver::Version::parse(version).ok(),
    }
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

/// The repository that cargo could not ask while resolving, from its error: `Unable to update`
/// and its address, with the revision after `?`.
pub fn missing_repository(lines: &[String]) -> Option<&str> {
    let start = lines.iter().position(|line| line.starts_with("error"))?;
    lines[start..].iter().find_map(|line| {
        let line = line.trim_start();
        // Capital until 1.94 or so.
        let address = line
            .strip_prefix("Unable to update ")
            .or_else(|| line.strip_prefix("unable to update "))?;
        address.contains("://").then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_names_the_repository_it_could_not_ask() {
        let said = [
            "error: failed to get `a` as a dependency of package `b v1.0.0 (/ejecta/work/resolve)`",
            "",
            "Caused by:",
            "  failed to load source for dependency `a`",
            "",
            "Caused by:",
            "  Unable to update https://h.invalid/a?branch=x#0123",
        ]
        .map(str::to_owned);
        let found = missing_repository(&said);
        assert_eq!(found, Some("https://h.invalid/a?branch=x#0123"));
        assert_eq!(missing_repository(&said[..4]), None);
        let newer = said.clone().map(|line| line.replace("Unable", "unable"));
        assert_eq!(missing_repository(&newer), found);
    }

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

    #[test]
    fn a_directory_of_the_store_names_its_package() {
        let sum = "300e883d756b2e4e";
        let table = [
            ("getrandom-0.4.3".to_owned(), "getrandom 0.4.3"),
            (format!("getrandom-0.4.3-{sum}"), "getrandom 0.4.3"),
            (format!("a-2d-1.0.0-rc.1+z-{sum}"), "a-2d 1.0.0-rc.1+z"),
            ("b-1.0.0-beta".to_owned(), "b 1.0.0-beta"),
            ("source".to_owned(), "source"),
        ];
        for (dir, package) in &table {
            assert_eq!(package_of_directory(dir).to_string(), *package, "{dir}");
        }
    }

    fn evidence_of(exit: StepExit) -> Option<Reason> {
        reason(&Evidence {
            exit,
            oom: false,
            units: &BTreeMap::new(),
            diagnostics: &[],
            failed_dependencies: &BTreeSet::new(),
            own_script: None,
            dependency_scripts: Vec::new(),
            heard: &Heard::default(),
            rust_version: None,
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
