//! What cargo really said, kept in `tests/data/messages`: by cargo 1.95 (`stable`) and 1.97
//! (`nightly`); in the form of cargo 1.63, edited by hand (`old`); and what would take a registry
//! or a build script, edited by hand too.

use super::*;
use crate::limits::LimitHit;
use crate::outcome::Reason;

macro_rules! said {
    ($case:literal) => {
        (
            include_str!(concat!("../tests/data/messages/", $case, ".stdout")),
            include_str!(concat!("../tests/data/messages/", $case, ".stderr")),
        )
    };
}

fn reader() -> StepReader {
    StepReader::new(PackageId::parse("under-test 0.1.0 (path+file:///x)"))
}

fn read_with(stdout: &str, stderr: &str, exit: StepExit, oom: bool) -> (StepOutcome, String) {
    let mut reader = reader();
    for line in stdout.lines() {
        reader.stdout(line.as_bytes());
    }
    for line in stderr.lines() {
        reader.stderr(line.as_bytes());
    }
    let read = reader.finish("check", exit, oom, Usage::default());
    (read.outcome, read.log)
}

fn read((stdout, stderr): (&str, &str)) -> StepOutcome {
    read_with(stdout, stderr, StepExit::Code(101), false).0
}

fn units(outcome: &StepOutcome) -> Vec<String> {
    let unit = |u: &UnitOutcome| format!("{}: {:?}", u.unit, u.status);
    outcome.units.iter().map(unit).collect()
}

fn reason(outcome: &StepOutcome) -> String {
    let reason = outcome.reason.as_ref();
    reason.map_or_else(String::new, ToString::to_string)
}

fn errors(outcome: &StepOutcome) -> Vec<String> {
    let error = |d: &Diagnostic| {
        let code = d.code.as_deref().unwrap_or("-");
        format!("{} {} {code} {}", d.package, d.unit, d.message)
    };
    outcome.diagnostics.iter().map(error).collect()
}

fn codes(codes: &[&str]) -> Option<Reason> {
    Some(Reason::CompilerError {
        codes: codes.iter().map(|c| (*c).to_owned()).collect(),
    })
}

#[test]
fn an_error_in_the_library_is_one_in_its_tests_too() {
    for case in [said!("lib-error.stable"), said!("lib-error.nightly")] {
        let outcome = read(case);
        assert_eq!(
            units(&outcome),
            ["lib under_test: Fail", "lib under_test (test): Fail"]
        );
        // Cargo says it twice.
        assert_eq!(
            errors(&outcome),
            ["under-test 0.1.0 lib under_test E0308 mismatched types"]
        );
        let place = outcome.diagnostics[0].place.as_deref();
        assert_eq!(place, Some("src/lib.rs:1"));
        assert!(outcome.diagnostics[0].own);
        assert_eq!(outcome.reason, codes(&["E0308"]));
    }
}

#[test]
fn an_error_in_the_tests_of_the_library_is_none_in_the_library() {
    for case in [
        said!("lib-test-error.stable"),
        said!("lib-test-error.nightly"),
    ] {
        let outcome = read(case);
        assert_eq!(
            units(&outcome),
            [
                "lib under_test: Pass",
                "lib under_test (test): Fail",
                "test it: Pass"
            ]
        );
        assert_eq!(outcome.reason, codes(&["E0308"]));
    }
}

#[test]
fn cargos_that_name_no_units_are_understood_from_what_was_built() {
    let outcome = read(said!("lib-error.old"));
    assert_eq!(units(&outcome), ["lib under_test: Fail"]);
    assert_eq!(outcome.reason, codes(&["E0308"]));
    let outcome = read(said!("lib-test-error.old"));
    assert_eq!(
        units(&outcome),
        [
            "lib under_test: Pass",
            "lib under_test (test): Fail",
            "test it: Pass"
        ]
    );
}

#[test]
fn a_bench_that_needs_nightly_says_nothing_of_the_library() {
    let outcome = read(said!("nightly-bench.stable"));
    assert_eq!(
        units(&outcome),
        [
            "lib under_test: Pass",
            "lib under_test (test): Pass",
            "bench speed: NeedsNightly"
        ]
    );
    assert_eq!(outcome.reason, Some(Reason::NeedsNightly));
    let (stdout, stderr) = said!("nightly-bench.nightly");
    let (outcome, _) = read_with(stdout, stderr, StepExit::Code(0), false);
    assert_eq!(
        units(&outcome),
        [
            "lib under_test: Pass",
            "lib under_test (test): Pass",
            "bench speed: Pass"
        ]
    );
    assert_eq!(outcome.reason, None);
}

#[test]
fn units_that_fail_hide_none_that_do_not() {
    for case in [said!("several.stable"), said!("several.nightly")] {
        let outcome = read(case);
        assert_eq!(
            units(&outcome),
            [
                "lib under_test: Pass",
                "lib under_test (test): Pass",
                "bin tool: Fail",
                "bin tool (test): Fail",
                "test bad: Fail",
                "test good: Pass",
                "example demo: Fail",
            ]
        );
        assert_eq!(outcome.diagnostics.len(), 3);
        assert_eq!(outcome.reason, codes(&["E0308", "E0425"]));
    }
}

#[test]
fn a_failing_dependency_is_named_and_blocks_the_rest() {
    let broken = PackageRef {
        name: "broken-dep".to_owned(),
        version: Some(semver::Version::new(0, 3, 0)),
    };
    for case in [said!("dependency.new"), said!("dependency.old")] {
        let outcome = read(case);
        assert_eq!(units(&outcome), [""; 0]);
        assert_eq!(
            errors(&outcome),
            ["broken-dep 0.3.0 lib broken_dep E0308 mismatched types"]
        );
        assert!(!outcome.diagnostics[0].own);
        let packages = [broken.clone()].into();
        assert_eq!(outcome.reason, Some(Reason::DependsOn { packages }));
    }
}

#[test]
fn a_dependency_that_needs_nightly_is_no_failure_to_compare() {
    let (stdout, stderr) = said!("dependency.new");
    let gated = stdout.replace("E0308", "E0554");
    assert_eq!(read((&gated, stderr)).reason, Some(Reason::NeedsNightly));
}

#[test]
fn build_scripts_that_fail_are_told_from_compilers_that_do() {
    let outcome = read(said!("build-script.own"));
    assert_eq!(units(&outcome), ["build-script build-script-build: Pass"]);
    assert_eq!(outcome.reason, Some(Reason::BuildScript));
    let said = "under-test 0.1.0 build-script build-script-build - the build script failed: error: could \
                not compile `under-test` (lib) due to 1 previous error";
    assert_eq!(
        errors(&outcome),
        [said],
        "what it forged is its own message"
    );
    let Some(Reason::DependsOn { packages }) = read(said!("build-script.dependency")).reason else {
        panic!("a dependency failed");
    };
    let names: Vec<String> = packages.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["broken-sys 2.0.9+native.1.5"]);
}

#[test]
fn a_crash_of_the_compiler_is_recognised_in_messages_and_in_plain_text() {
    let (stdout, stderr) = said!("ice.nightly");
    let outcome = read((stdout, stderr));
    assert_eq!(reason(&outcome), "ice(under-test 0.1.0)");
    assert_eq!(units(&outcome), ["lib under_test: Fail"]);
    let in_json = read((stdout, "error: could not compile `under-test` (lib)"));
    assert_eq!(reason(&in_json), "ice(under-test 0.1.0)");

    // Most crashes come without any message of the compiler's.
    let outcome = read(("", stderr));
    assert_eq!(reason(&outcome), "ice(under-test 0.1.0)");
    assert_eq!(
        errors(&outcome),
        ["under-test 0.1.0 lib under_test - aborting due to `-Z treat-err-as-bug=1`"]
    );
    let error = &outcome.diagnostics[0];
    assert!(error.own && error.ice);
    assert!(error.rendered.contains("query stack during panic"));
}

#[test]
fn a_crash_of_the_compiler_in_a_dependency_is_that_packages() {
    let (_, stderr) = said!("ice.nightly");
    let (messages, _) = said!("build-script.dependency");
    let stderr = stderr.replace("under-test", "broken-sys");
    let outcome = read((messages, &stderr));
    assert_eq!(reason(&outcome), "ice(broken-sys 2.0.9+native.1.5)");
    let package = outcome.diagnostics[0].package.to_string();
    assert_eq!(package, "broken-sys 2.0.9+native.1.5");
    assert!(!outcome.diagnostics[0].own);
}

#[test]
fn a_crash_is_placed_by_what_both_streams_say_in_any_order() {
    let (_, stderr) = said!("ice.nightly");
    let (messages, _) = said!("build-script.dependency");
    let stderr = stderr.replace("under-test", "broken-sys");
    let mut reader = reader();
    stderr.lines().for_each(|l| reader.stderr(l.as_bytes()));
    messages.lines().for_each(|l| reader.stdout(l.as_bytes()));
    let read_back = reader.finish("check", StepExit::Code(101), false, Usage::default());
    let outcome = read_back.outcome;
    assert_eq!(outcome, read((messages, &stderr)));
}

#[test]
fn a_forged_success_hides_no_crash() {
    let (good, _) = said!("nightly-bench.nightly");
    let (_, stderr) = said!("ice.nightly");
    let outcome = read((good, stderr));
    assert_eq!(reason(&outcome), "ice(under-test 0.1.0)");
    assert_eq!(units(&outcome)[0], "lib under_test: Fail");
}

#[test]
fn a_compiler_that_a_signal_ended_crashed() {
    let stderr = "error: could not compile `under-test` (lib)\n\nCaused by:\n  process didn't exit \
                  successfully: `rustc x` (signal: 11, SIGSEGV: invalid memory reference)\n";
    let outcome = read(("", stderr));
    assert_eq!(reason(&outcome), "ice(under-test 0.1.0)");
    let killed = stderr.replace("11, SIGSEGV: invalid memory reference", "9, SIGKILL: kill");
    let limit = LimitHit::Oom;
    let (outcome, _) = read_with("", &killed, StepExit::Code(101), true);
    assert_eq!(outcome.reason, Some(Reason::Limit { limit }));
}

#[test]
fn what_cargo_refuses_is_told_in_its_words() {
    let manifest = "error: failed to parse manifest at `/source/Cargo.toml`\n\nCaused by:\n  \
                    this version of Cargo is older than the `2099` edition\n";
    let target = "error: can't find lib `under_test` at path `/source/src/gone.rs`\n --> \
                  /source/Cargo.toml\nerror: could not compile due to 1 previous target \
                  resolution error\n";
    let table = [
        (
            manifest,
            "failed to parse manifest at `/source/Cargo.toml`: this version of Cargo is older \
             than the `2099` edition",
        ),
        (
            target,
            "can't find lib `under_test` at path `/source/src/gone.rs`",
        ),
    ];
    for (stderr, message) in table {
        let outcome = read(("", stderr));
        let error = format!("under-test 0.1.0 lib under_test - {message}");
        assert_eq!(errors(&outcome), [error]);
        assert_eq!(units(&outcome), Vec::<String>::new());
        assert_eq!(outcome.reason, Some(Reason::Unknown));
    }
    let warned = read_with("", manifest, StepExit::Code(0), false).0;
    assert_eq!(errors(&warned), Vec::<String>::new());
}

#[test]
fn places_in_dependencies_are_below_their_directory() {
    let package = PackageId::parse("leaf 1.0.0+a (registry+https://x)");
    let table = [
        ("/job/vendor/leaf-1.0.0+a-0123/src/lib.rs", "src/lib.rs"),
        ("/job/vendor/leaf-1.0.0+a/src/a b.rs", "src/a b.rs"),
        ("/work/out/generated.rs", "/work/out/generated.rs"),
        ("src/lib.rs", "src/lib.rs"),
    ];
    for (file, place) in table {
        assert_eq!(in_package(&package, file), place);
    }
}

#[test]
fn a_limit_is_the_reason_whatever_was_said_before() {
    let (stdout, stderr) = said!("lib-error.stable");
    let limit = LimitHit::Timeout;
    let (outcome, _) = read_with(stdout, stderr, StepExit::Limit(limit), false);
    assert_eq!(outcome.reason, Some(Reason::Limit { limit }));
}

#[test]
fn forged_failures_mean_nothing_where_cargo_succeeded() {
    let (good, _) = said!("nightly-bench.nightly");
    let (bad, failed) = said!("lib-error.stable");
    let (_, crashed) = said!("ice.nightly");
    let (_, script) = said!("build-script.own");
    let stdout = format!("{good}{bad}");
    let stderr = format!("{failed}{crashed}{script}");
    let (outcome, _) = read_with(&stdout, &stderr, StepExit::Code(0), false);
    assert_eq!(outcome.reason, None);
    assert_eq!(
        units(&outcome),
        [
            "lib under_test: Pass",
            "lib under_test (test): Pass",
            "bench speed: Pass"
        ]
    );
    assert!(outcome.diagnostics.is_empty());
}

#[test]
fn a_forged_success_makes_no_good_unit() {
    let (good, _) = said!("nightly-bench.nightly");
    let (bad, failed) = said!("lib-error.stable");
    let stdout = format!("{good}{bad}");
    let (step, _) = read_with(&stdout, failed, StepExit::Code(101), false);
    let run = crate::outcome::Run {
        side: crate::outcome::Side::Candidate,
        dev_dependencies: false,
        keep_going: true,
        features: BTreeSet::new(),
        steps: vec![step],
        log: "1".to_owned(),
    };
    let library = UnitKey {
        kind: UnitKind::Lib,
        name: "under_test".to_owned(),
        harness: false,
    };
    assert_ne!(run.unit_status(&library), Some(UnitStatus::Pass));
}

#[test]
fn another_version_of_the_crate_among_its_dependencies_is_not_the_crate() {
    let (good, _) = said!("nightly-bench.nightly");
    let (bad, failed) = said!("dependency.new");
    let older = bad
        .replace("broken-dep", "under-test")
        .replace("broken_dep", "under_test");
    let stderr = failed.replace("broken-dep", "under-test");
    let outcome = read((&format!("{good}{older}"), &stderr));
    assert_eq!(units(&outcome)[0], "lib under_test: Pass");
    assert!(!outcome.diagnostics[0].own);
}

#[test]
fn lines_that_are_no_messages_are_for_the_log_alone() {
    let stdout = "hello from a proc macro\n{\"a\":1}\n{\"reason\":\"compiler-artifact\"}\n{ not \
                  JSON\n{\"reason\":\"unheard-of\",\"x\":1}\n[]\n\u{1b}]0;owned\u{7}";
    let stderr = "    Checking under-test v0.1.0\n  error: could not compile `under-test` (lib)\n\
                  warning: error: could not compile `x`";
    let (outcome, log) = read_with(stdout, stderr, StepExit::Code(0), false);
    assert!(outcome.units.is_empty() && outcome.diagnostics.is_empty());
    assert_eq!(outcome.reason, None);
    assert!(
        log.starts_with("hello from a proc macro\n{\"a\":1}\n"),
        "{log}"
    );
    assert!(log.contains("\\u{1b}]0;owned\\u{7}\n    Checking"), "{log}");
    let (outcome, _) = read_with(stdout, stderr, StepExit::Code(101), false);
    assert!(outcome.units.is_empty());
    assert_eq!(outcome.reason, Some(Reason::Unknown));
}

#[test]
fn invalid_text_is_read_all_the_same() {
    let mut reader = reader();
    reader.stdout(b"{\"reason\":\"\xff\xfe\"}");
    reader.stderr(b"error: could not compile `\xff` (lib)");
    let read = reader.finish("check", StepExit::Code(101), false, Usage::default());
    let (outcome, log) = (read.outcome, read.log);
    assert!(log.contains('\u{fffd}'));
    assert!(matches!(outcome.reason, Some(Reason::DependsOn { .. })));
}

#[test]
fn errors_are_kept_up_to_a_bound_and_counted_beyond() {
    let (stdout, _) = said!("lib-error.stable");
    let line = stdout
        .lines()
        .find(|l| l.contains("mismatched types"))
        .expect("the error");
    let mut reader = reader();
    for n in 0..MAX_DIAGNOSTICS + 7 {
        reader.stdout(
            line.replace("mismatched types", &format!("m{n}"))
                .as_bytes(),
        );
    }
    let read_back = reader.finish("check", StepExit::Code(101), false, Usage::default());
    let outcome = read_back.outcome;
    assert_eq!(outcome.diagnostics.len(), MAX_DIAGNOSTICS);
    assert_eq!(outcome.diagnostics_left_out, 7);
}

#[test]
fn rendered_errors_are_plain_and_bounded() {
    let (stdout, stderr) = said!("lib-error.stable");
    let long = "x".repeat(2 * MAX_RENDERED_CHARS);
    let stdout = stdout.replace(
        "\"rendered\":\"error",
        &format!("\"rendered\":\"{long}error"),
    );
    let outcome = read((&stdout, stderr));
    let rendered = &outcome.diagnostics[0].rendered;
    assert!(rendered.ends_with("[cut]\n"));
    assert!(rendered.chars().count() < MAX_RENDERED_CHARS + 10);
    assert!(!rendered.contains('\u{1b}'));
}

#[test]
fn a_path_dependency_is_not_the_crate_itself() {
    let mut reader = reader();
    let message = |id: &str, name: &str| {
        serde_json::json!({
            "reason": "compiler-message",
            "package_id": id,
            "manifest_path": "/ejecta/job/source/beside/Cargo.toml",
            "target": {
                "kind": ["lib"], "crate_types": ["lib"], "name": name,
                "src_path": "/ejecta/job/source/beside/src/lib.rs", "edition": "2021",
                "doc": true, "doctest": true, "test": true
            },
            "message": {
                "message": "mismatched types", "level": "error", "code": null,
                "spans": [], "children": [], "rendered": "error: mismatched types\n"
            }
        })
        .to_string()
    };
    let beside = "path+file:///ejecta/job/source/beside#0.2.0";
    reader.stdout(message(beside, "beside").as_bytes());
    reader.stderr(b"error: could not compile `beside` (lib) due to 1 previous error");
    let read = reader.finish("check", StepExit::Code(101), false, Usage::default());
    let outcome = read.outcome;
    assert!(outcome.units.is_empty(), "{:?}", outcome.units);
    let diagnostic = &outcome.diagnostics[0];
    assert!(!diagnostic.own);
    assert_eq!(diagnostic.package.name, "beside");
    assert!(
        matches!(&outcome.reason, Some(Reason::DependsOn { packages }) if packages.iter().any(|p| p.name == "beside")),
        "{:?}",
        outcome.reason
    );
}

#[test]
fn a_library_has_one_name_in_all_cargos() {
    let artifact = |name: &str| {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"under-test 0.1.0 (path+file:///x)","manifest_path":"/x/Cargo.toml","target":{{"kind":["lib"],"crate_types":["lib"],"name":"{name}","src_path":"/x/src/lib.rs","edition":"2021","doctest":true,"test":true}},"profile":{{"opt_level":"0","debuginfo":0,"debug_assertions":true,"overflow_checks":true,"test":false}},"features":[],"filenames":[],"executable":null,"fresh":false}}"#
        )
    };
    // Cargo 1.65 and 1.95.
    for name in ["under-test", "under_test"] {
        let outcome = read_with(&artifact(name), "", StepExit::Code(0), false).0;
        assert!(
            units(&outcome).contains(&"lib under_test: Pass".to_owned()),
            "{:?}",
            units(&outcome)
        );
    }
}
