//! Two compilers that are really different: Debian's rustc (1.63), unpacked into a directory, as
//! the baseline, and rustup's `stable` as the candidate, over crates that tell them apart.
//!
//! `tests/debian-rust.sh` unpacks it, `tests/all.sh` says where it is.

use std::io::Write as _;

use ejecta_test_support::{CrateFixture, DepFixture, Lab};
use serde_json::Value;

/// The directory of the old toolchain. Without one the test is skipped, loudly, or red where
/// everything real is required.
fn old_toolchain() -> Option<String> {
    if let Ok(dir) = std::env::var("EJECTA_TEST_OLD_TOOLCHAIN") {
        return Some(dir);
    }
    let required = std::env::var_os("EJECTA_REQUIRE_DOCKER").is_some();
    assert!(
        !required,
        "an old toolchain is required; see tests/debian-rust.sh"
    );
    let said = "\n**** SKIPPED: EJECTA_TEST_OLD_TOOLCHAIN is not set ****\n\n";
    let _ = std::io::stderr().write_all(said.as_bytes());
    None
}

fn library(name: &str, text: &str) -> CrateFixture {
    CrateFixture::new(name, "1.0.0").file("src/lib.rs", text)
}

/// A trait's method of a name that the standard library took in 1.82.
const NAME_TAKEN: &str = "
pub trait Ext { fn is_none_or(self) -> bool; }
impl Ext for Option<u8> { fn is_none_or(self) -> bool { self.is_none() } }
pub fn none(o: Option<u8>) -> bool { o.is_none_or() }
";

/// Uses `let ... else`, stable since 1.65.
const NEWER_SYNTAX: &str = "
pub fn first(text: &str) -> char {
    let Some(c) = text.chars().next() else { return ' ' };
    c
}
";

#[test]
fn what_thirty_releases_changed_is_told_apart() {
    let Some(old) = old_toolchain() else {
        return;
    };
    if !ejecta_test_support::docker_or_skip() {
        return;
    }
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let broken = library("taken-name", NAME_TAKEN);
    let crates = [
        library("same", "pub fn one() -> u8 { 1 }\n#[test] fn is_one() { assert_eq!(one(), 1); }"),
        broken,
        library("uses-taken-name", "pub use taken_name::none;")
            .dep(DepFixture::new("taken-name", "1")),
        library("newer-syntax", NEWER_SYNTAX),
        library("says-its-version", NEWER_SYNTAX).rust_version("1.65"),
        library("on-a-newer-one", "pub use says_its_version::first;")
            .dep(DepFixture::new("says-its-version", "1")),
        library("of-the-newest-edition", "pub fn f() {}").file(
            "Cargo.toml",
            "[package]\nname = \"of-the-newest-edition\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
        ),
    ];
    for krate in &crates {
        lab.registry.publish(krate);
    }
    let expected = [
        ("same", "test-pass", "", ""),
        ("taken-name", "regressed", "", "compiler-error E0061"),
        ("uses-taken-name", "regressed", "", "depends-on taken-name"),
        ("newer-syntax", "fixed", "compiler-error E0658", ""),
        ("says-its-version", "skipped", "1.65", "1.65"),
        ("on-a-newer-one", "skipped", "1.65", ""),
        ("of-the-newest-edition", "skipped", "1.85", ""),
        // A fixture with a lockfile and a dependency.
        ("program", "test-pass", "", ""),
        (
            "broken-bench",
            "test-fail",
            "compiler-error",
            "compiler-error",
        ),
    ];
    let names: Vec<&str> = expected.iter().map(|row| row.0).collect();
    for (out, scope) in [("lib", "lib"), ("all", "all")] {
        let ended = lab.run(
            out,
            &[
                "--baseline",
                &format!("path:{old}"),
                "--candidate",
                "stable",
                "--baseline-runs",
                "always",
                "--scope",
                scope,
                "--crates",
                &format!("list:{}", names.join(",")),
            ],
        );
        assert_eq!(ended.code, Some(1), "{}\n{}", ended.stdout, ended.stderr);
        let results = lab.results(out);
        let mut wrong = Vec::new();
        for (name, verdict, baseline, candidate) in expected {
            // Its bench is no part of the scope `lib`.
            let verdict = match (scope, verdict) {
                ("lib", "test-fail") => "test-pass",
                _ => verdict,
            };
            let krate = results["crates"]
                .as_array()
                .and_then(|all| all.iter().find(|k| k["name"] == name))
                .unwrap_or_else(|| panic!("`{name}` is not in the results"));
            let told = |side: &str| {
                let reason = &krate[side]["reason"];
                format!("{} {}", reason, krate["message"])
            };
            let says = |side: &str, words: &str| {
                let all = told(side);
                words.split(' ').all(|word| all.contains(word))
            };
            if krate["verdict"] != verdict
                || (verdict != "test-pass"
                    && !(says("baseline", baseline) && says("candidate", candidate)))
            {
                wrong.push(format!(
                    "{name} ({scope}): {} | {} | {}",
                    krate["verdict"],
                    told("baseline"),
                    told("candidate")
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let rustc: &Value = &results["experiment"]["baseline"]["rustc"];
        assert!(
            rustc.as_str().is_some_and(|text| text.contains("1.63")),
            "{rustc}"
        );
    }
}
