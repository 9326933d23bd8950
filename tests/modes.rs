//! Each mode through the real binary, over one fixture crate for each thing that can come of it.

use ejecta_test_support::{Ended, Lab, docker_or_skip};
use serde_json::Value;

const DENYLIST: &str =
    "[crates.denied-tests]\nreason = \"its tests want hardware\"\nskip-tests = true\n";

/// Runs a mode over crates, with `--cfg planted` as the candidate's only difference.
fn run(lab: &Lab, mode: &str, crates: &[&str], args: &[&str]) -> Ended {
    let denylist = lab.write("denylist.toml", DENYLIST);
    let crates = format!("list:{}", crates.join(","));
    let mut all = vec!["--mode", mode, "--crates", &crates, "--memory", "2048"];
    all.extend([
        "--candidate",
        "stable+rustflags=--cfg planted+rustdocflags=--cfg planted",
    ]);
    all.extend(["--denylist", denylist.to_str().expect("UTF-8")]);
    all.extend(args);
    lab.run("out", &all)
}

/// `name verdict | reason of each side | unit verdict; …` for each crate, of its last tier.
fn table(results: &Value, units: bool) -> String {
    let mut rows = Vec::new();
    for krate in results["crates"].as_array().into_iter().flatten() {
        let reason = |side: &str| {
            let reason = &krate[side]["reason"];
            let Some(kind) = reason["kind"].as_str() else {
                return "-".to_owned();
            };
            let inner = [
                "codes", "need", "names", "package", "required", "limit", "packages",
            ]
            .iter()
            .find_map(|key| reason.get(*key));
            match inner {
                Some(inner) => format!("{kind} {inner}"),
                None => kind.to_owned(),
            }
        };
        let mut row = format!(
            "{} {} | {} | {}",
            text(&krate["name"]),
            text(&krate["verdict"]),
            reason("baseline"),
            reason("candidate")
        );
        let last = krate["tiers"].as_array().and_then(|t| t.last());
        let all = last.and_then(|tier| tier["units"].as_array());
        for unit in all.into_iter().flatten().filter(|_| units) {
            let key = &unit["unit"];
            let harness = key["harness"] == true && matches!(text(&key["kind"]), "lib" | "bin");
            row.push_str(&format!(
                "\n    {} {}{} {}",
                text(&key["kind"]),
                text(&key["name"]),
                if harness { " (test)" } else { "" },
                text(&unit["verdict"])
            ));
        }
        rows.push(row);
    }
    rows.sort();
    rows.join("\n")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn krate<'a>(results: &'a Value, name: &str) -> &'a Value {
    let crates = results["crates"].as_array().into_iter().flatten();
    crates
        .into_iter()
        .find(|k| k["name"] == name)
        .expect("a result")
}

#[test]
fn tests_and_doctests_are_run_and_named() {
    if !docker_or_skip() {
        return;
    }
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let crates = [
        "passes",
        "program",
        "broken-bench",
        "test-fails",
        "test-aborts",
        "doctest-fails",
        "planted-in-unit-test",
        "planted-in-doctest",
        "wants-network-when-planted",
        "denied-tests",
        "lacks-system-library",
        "too-new",
        "needs-too-new",
        "fails-on-both",
        "forged-harness",
    ];
    let ended = run(&lab, "build-and-test", &crates, &["--scope", "all"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let results = lab.results("out");
    insta::assert_snapshot!("build_and_test", table(&results, true));
    let error = |name: &str| {
        let error = &krate(&results, name)["candidate"]["error"];
        format!("{} at {}", text(&error["message"]), text(&error["place"]))
    };
    let doctest = error("doctest-fails");
    let said =
        "test `src/lib.rs - half (line 5)` failed: assertion `left == right` failed at src/lib.rs";
    assert!(doctest.starts_with(said), "{doctest}");
    assert_eq!(
        error("planted-in-unit-test"),
        "test `planted` failed: planted in a test at src/lib.rs:10"
    );
    assert!(
        error("test-aborts").contains("SIGABRT"),
        "{}",
        error("test-aborts")
    );
    let too_new = krate(&results, "too-new");
    let said = text(&too_new["message"]);
    assert!(
        said.starts_with("needs Rust 1.9999, and the baseline is 1."),
        "{said}"
    );
    let steps = &krate(&results, "passes")["tiers"][1]["runs"][0]["steps"];
    let tests = &steps[2]["tests"];
    assert_eq!(
        (&tests["passed"], &tests["failed"]),
        (&1.into(), &0.into()),
        "{steps}"
    );
    let log = lab.read("out", "logs/test-fails-1.0.0/all-1-candidate.log");
    for step in [
        "cargo build --locked",
        "cargo build --all-targets",
        "cargo test --no-fail-fast",
        "cargo test --doc",
    ] {
        assert!(log.contains(step), "{step}: {log}");
    }
    assert!(log.contains("about to be wrong"), "{log}");
    lab.nothing_left("out");
}

#[test]
fn a_hung_test_is_stopped_and_the_doctests_run_all_the_same() {
    if !docker_or_skip() {
        return;
    }
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let args = ["--scope", "all", "--timeout", "15"];
    let ended = run(&lab, "build-and-test", &["test-hangs"], &args);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    insta::assert_snapshot!("hung_test", table(&lab.results("out"), true));
}

#[test]
fn building_alone_runs_no_test() {
    if !docker_or_skip() {
        return;
    }
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let crates = [
        "test-fails",
        "doctest-fails",
        "planted-in-test",
        "planted-lib",
    ];
    let ended = run(&lab, "build-only", &crates, &["--scope", "all"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    insta::assert_snapshot!("build_only", table(&lab.results("out"), true));
}

#[test]
fn clippy_denies_what_it_denies_by_default() {
    if !docker_or_skip() {
        return;
    }
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let ended = run(
        &lab,
        "clippy",
        &["clippy-error", "passes", "warns"],
        &["--scope", "all"],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    insta::assert_snapshot!("clippy", table(&lab.results("out"), true));
}

#[test]
fn documentation_is_built_as_docs_rs_does() {
    if !docker_or_skip() {
        return;
    }
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let crates = [
        "doc-error",
        "doc-feature",
        "passes",
        "program",
        "planted-in-doc",
    ];
    let ended = run(&lab, "rustdoc", &crates, &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    insta::assert_snapshot!("rustdoc", table(&lab.results("out"), true));
}

#[test]
fn fixes_are_applied_to_a_copy_and_checked() {
    if !docker_or_skip() {
        return;
    }
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let ended = run(
        &lab,
        "fix",
        &["fixable", "breaks-when-fixed", "passes"],
        &["--scope", "all"],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    insta::assert_snapshot!("fix", table(&lab.results("out"), true));
    let log = lab.read("out", "logs/fixable-1.0.0/lib-1-candidate.log");
    assert!(log.contains("Fixed src/lib.rs (1 fix)"), "{log}");
    assert!(log.contains("cargo check"), "{log}");
    assert!(!log.contains("unused_mut"), "it is mended: {log}");
}

#[test]
fn features_are_listed_and_nothing_is_built() {
    if !docker_or_skip() {
        return;
    }
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let crates = [
        "names-features",
        "nightly-lib",
        "passes",
        "fails-on-both",
        "broken-dependency",
    ];
    let ended = run(&lab, "unstable-features", &crates, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let results = lab.results("out");
    let features = |name: &str| krate(&results, name)["tiers"][0]["runs"][0]["features"].clone();
    assert_eq!(
        features("names-features"),
        serde_json::json!(["box_patterns", "never_type", "test"])
    );
    assert_eq!(features("passes"), serde_json::json!([]));
    assert_eq!(results["coverage"], 1.0);
}

#[test]
fn new_warnings_regress_where_warnings_are_compared() {
    if !docker_or_skip() {
        return;
    }
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let crates = ["planted-warning", "warns", "passes"];
    let ended = run(&lab, "check-only", &crates, &["--compare", "warnings"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let results = lab.results("out");
    insta::assert_snapshot!("warnings", table(&results, false));
    let planted = krate(&results, "planted-warning");
    // The candidate ran first.
    let warnings = |run: usize| &planted["tiers"][0]["runs"][run]["steps"][0]["warnings"];
    assert_eq!(warnings(1)["dead_code"], 1);
    assert_eq!(warnings(1)["unused_variables"], Value::Null);
    assert_eq!(warnings(0)["unused_variables"], 1);
    assert_eq!(planted["candidate"]["runs"], 2, "it was confirmed");
}
