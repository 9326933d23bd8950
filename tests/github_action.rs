//! The GitHub Action's script over the real binary, as a runner calls it.

use std::path::Path;
use std::process::Command;

use ejecta_test_support::{Ended, Lab, docker_or_skip};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/github-action/run.sh");

/// Runs the script with these inputs and the action's defaults for all others.
fn action(lab: &Lab, inputs: &[(&str, &str)]) -> Ended {
    let binary = Path::new(env!("CARGO_BIN_EXE_ejecta"));
    let own = binary.parent().expect("a directory").display().to_string();
    let path = std::env::var("PATH").expect("a path");
    let args = format!("--registry {} --name action", lab.registry.index_url());
    for file in ["output", "summary"] {
        lab.write(file, "");
    }
    let mut command = Command::new(SCRIPT);
    command.current_dir(lab.path("."));
    for (name, value) in lab.command::<&str>([]).get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .env("PATH", format!("{own}:{path}"))
        .env("RUNNER_TEMP", lab.path("temp"))
        .env("GITHUB_OUTPUT", lab.path("output"))
        .env("GITHUB_STEP_SUMMARY", lab.path("summary"))
        .env("EJECTA_BASELINE", "stable")
        .env("EJECTA_MODE", "check-only")
        .env("EJECTA_SCOPE", "lib")
        .env("EJECTA_ARGS", args)
        .envs(inputs.iter().copied());
    command.output().expect("the script starts").into()
}

#[test]
fn a_regression_fails_the_job_and_is_in_its_summary() {
    if !docker_or_skip() {
        return;
    }
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let inputs = [
        ("EJECTA_CANDIDATE", "stable+rustflags=--cfg planted"),
        ("EJECTA_CRATES", "list:planted-lib,passes"),
    ];
    let ended = action(&lab, &inputs);
    let told = format!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, Some(1), "{told}");
    let summary = lab.read(".", "summary");
    assert_eq!(summary, lab.read("temp/ejecta-report", "summary.md"));
    assert!(summary.starts_with("# 1 regressed\n"), "{summary}");
    let output = lab.read(".", "output");
    let report = lab.path("temp/ejecta-report");
    assert_eq!(
        output,
        format!("exit-code=1\nreport={}\n", report.display())
    );
}

#[test]
fn inputs_that_cannot_be_are_named() {
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let table: [(&[(&str, &str)], &str); 4] = [
        (&[], "give `crate`, or both `candidate` and `crates`"),
        (&[("EJECTA_CRATES", "demo")], "give `crate`"),
        (&[("EJECTA_CRATE", "a=path:/ +x")], "`crate` is no name"),
        (
            &[("EJECTA_CRATE", "mine"), ("EJECTA_PATH", "nowhere")],
            "`path` is no directory",
        ),
    ];
    for (inputs, says) in table {
        let ended = action(&lab, inputs);
        assert_eq!(ended.code, Some(2), "{inputs:?}: {ended:?}");
        assert!(ended.stdout.contains("::error title=ejecta::"), "{ended:?}");
        assert!(ended.stdout.contains(says), "{inputs:?}: {ended:?}");
        assert_eq!(lab.read(".", "summary"), "");
    }
}

#[test]
fn nothing_in_an_input_is_obeyed() {
    let lab = Lab::new(env!("CARGO_BIN_EXE_ejecta"));
    let hostile = "$(touch pwned) `touch pwned`; touch pwned #";
    let inputs = [
        ("EJECTA_CANDIDATE", hostile),
        ("EJECTA_CRATES", hostile),
        ("EJECTA_MODE", hostile),
        ("EJECTA_ARGS", "$(touch pwned) * `touch pwned`"),
    ];
    let ended = action(&lab, &inputs);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(!lab.path("pwned").exists());
}

#[test]
fn the_action_passes_every_input_on() {
    let dir = Path::new(SCRIPT).parent().expect("a directory");
    let action = fs_err::read_to_string(dir.join("action.yml")).expect("a readable file");
    let script = fs_err::read_to_string(SCRIPT).expect("a readable file");
    let (inputs, rest) = action
        .split_once("\ninputs:\n")
        .and_then(|(_, rest)| rest.split_once("\noutputs:\n"))
        .expect("inputs and outputs");
    let names = inputs
        .lines()
        .filter_map(|l| l.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|name| !name.starts_with(' '));
    let mut seen = 0;
    for name in names {
        let passed = rest
            .lines()
            .find(|l| l.contains(&format!("${{{{ inputs.{name} }}}}")));
        let passed = passed.unwrap_or_else(|| panic!("{name} is not passed on"));
        let variable = passed.trim().split(':').next().expect("a variable");
        assert!(script.contains(variable), "{variable} is not read");
        seen += 1;
    }
    assert_eq!(seen, 9);
    // No input stands in the text of a script.
    for run in rest.split("run:").skip(1) {
        let text = run.split("\n    - ").next().expect("a step");
        assert!(!text.contains("inputs."), "{text}");
    }
}
