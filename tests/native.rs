//! `ejecta run` without Docker: the whole way with the native sandbox, on the real binary, which
//! is its own helper there.

#![expect(clippy::print_stdout, reason = "tests say when they were skipped")]

use ejecta_test_support::{Ended, Lab};

const PLANTED: &str = "stable+rustflags=--cfg planted";

/// What came of it; `None`, loudly, on a machine without namespaces unless they are required.
fn needs_namespaces(ended: Ended) -> Option<Ended> {
    let lacks = ended.stderr.contains("isolate steps with namespaces");
    if lacks && std::env::var_os("EJECTA_REQUIRE_NATIVE").is_none() {
        println!("SKIPPED: no namespaces: {}", ended.stderr);
        return None;
    }
    Some(ended)
}

#[test]
fn a_planted_regression_is_found_by_the_native_sandbox() {
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let crates = "list:planted-lib,passes,has-dependency,program";
    let args = [
        "--crates",
        crates,
        "--candidate",
        PLANTED,
        "--sandbox",
        "native",
    ];
    let ended = lab.run("out", &args);
    let Some(ended) = needs_namespaces(ended) else {
        return;
    };
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let results = lab.results("out");
    assert_eq!(results["totals"]["regressed"], 1, "{ended:?}");
    assert_eq!(results["totals"]["test-pass"], 3, "{ended:?}");
    let sandbox = results["experiment"]["sandbox"]
        .as_str()
        .expect("a sandbox");
    assert!(sandbox.starts_with("native"), "{sandbox}");
    assert!(!lab.path("out/work").exists(), "jobs left their directory");
}

#[test]
fn without_docker_the_best_that_works_is_chosen_and_said() {
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let args = ["--crates", "list:passes", "--candidate", "stable"];
    let mut command = lab.command(lab.run_args("out", &args));
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let ended = Ended::from(command.output().expect("it starts"));
    let Some(ended) = needs_namespaces(ended) else {
        return;
    };
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let note = "no Docker answers: crates are isolated by the namespaces of this machine";
    let told = format!("{}{}", ended.stdout, ended.stderr);
    assert!(told.contains(note), "{told}");
}

#[test]
fn what_only_docker_has_is_no_option_of_the_native_sandbox() {
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    for option in ["--image", "--runtime"] {
        let args = [
            "--crates",
            "list:passes",
            "--sandbox",
            "native",
            option,
            "x",
        ];
        let ended = lab.run("out", &args);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let what = format!("`{option}` means nothing to the native sandbox");
        assert!(ended.stderr.contains(&what), "{ended:?}");
        assert!(ended.stderr.contains("--sandbox docker"), "{ended:?}");
    }
}
