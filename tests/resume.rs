//! A run that is killed, interrupted, or looked at from another process while it is under way: no
//! finished job is lost, none is run twice, nothing is left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ejecta_test_support::{Lab, Running, Signal, containers_of, docker_or_skip};
use serde_json::Value;

const CRATES: &str = "list:passes,has-dependency,program,warns,leaf,planted-leaf,planted-lib,\
                      planted-in-test,broken-bench,broken-dev-dependency,denied-skip,denied-broken";
const JOBS: usize = 12;

fn lab() -> Option<Lab> {
    docker_or_skip().then(|| Lab::new(env!("CARGO_BIN_EXE_ejecta")))
}

fn args() -> [&'static str; 6] {
    ["--crates", CRATES, "--candidate", "stable", "--jobs", "2"]
}

/// The crates of all events of this name.
fn crates(events: &[Value], event: &str) -> BTreeSet<String> {
    let of = events.iter().filter(|e| e["event"] == event);
    of.map(|e| e["crate"].to_string()).collect()
}

/// Every log, so that one that is written again shows.
fn logs(dir: &Path) -> BTreeMap<PathBuf, (std::time::SystemTime, String)> {
    let mut all = BTreeMap::new();
    let Ok(entries) = fs_err::read_dir(dir) else {
        return all;
    };
    for entry in entries {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            all.extend(logs(&path));
        } else {
            let modified = fs_err::metadata(&path).and_then(|m| m.modified());
            let text = fs_err::read_to_string(&path).expect("readable");
            all.insert(path, (modified.expect("a time"), text));
        }
    }
    all
}

fn check_complete(lab: &Lab, out: &str) {
    let results = lab.results(out);
    assert_eq!(results["experiment"]["complete"], true);
    assert_eq!(results["totals"]["test-pass"], JOBS);
    assert_eq!(results["coverage"], 1.0);
    lab.nothing_left(out);
}

#[test]
fn a_run_that_is_killed_again_and_again_loses_nothing() {
    let Some(lab) = lab() else { return };
    // The event after which it is killed, and the how-manieth: before the first job, while jobs
    // run, just after one has finished.
    let kills = [
        ("started", 1),
        ("job-running", 1),
        ("job-finished", 1),
        ("job-running", 3),
        ("job-finished", 3),
    ];
    let mut finished = BTreeSet::new();
    for (n, (event, nth)) in kills.into_iter().enumerate() {
        let mut run = if n == 0 {
            lab.start("out", &args())
        } else {
            lab.resume("out")
        };
        assert!(run.wait_for(event, nth), "it ended: {:?}", run.events);
        run.signal(Signal::KILL);
        let (ended, events) = run.end();
        assert_eq!(ended.code, None, "killed: {}", ended.stderr);
        check_resumed(&events, &finished);
        let now = crates(&events, "job-finished");
        assert!(now.is_disjoint(&finished), "{now:?} {finished:?}");
        finished.extend(now);
    }
    assert!(finished.len() >= 4, "{finished:?}");
    let before = logs(&lab.path("out/logs"));
    let (ended, events) = lab.resume("out").end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    check_resumed(&events, &finished);
    check_complete(&lab, "out");
    // What had been finished was not written again.
    let after = logs(&lab.path("out/logs"));
    for (path, log) in &before {
        let of_finished = finished.iter().any(|id| {
            let id = id.trim_matches('"');
            path.parent().is_some_and(|dir| dir.ends_with(id))
        });
        if of_finished {
            assert!(after.get(path) == Some(log), "{}", path.display());
        }
    }
}

/// A run knows of all that was finished before, and starts none of it.
fn check_resumed(events: &[Value], finished: &BTreeSet<String>) {
    let Some(first) = events.iter().find(|e| e["event"] == "started") else {
        return;
    };
    // One more may have been committed than was told: it was killed in between.
    let known = first["finished"].as_u64().expect("a count");
    assert!(known >= finished.len() as u64, "{first} {finished:?}");
    assert_eq!(first["jobs"], JOBS);
    let started = crates(events, "job-started");
    assert!(started.is_disjoint(finished), "{started:?} {finished:?}");
}

#[test]
fn an_interrupt_ends_a_run_in_good_order() {
    let Some(lab) = lab() else { return };
    let mut run = lab.start("out", &args());
    assert!(run.wait_for("job-finished", 1), "{:?}", run.events);
    // Meanwhile nobody else has the directory.
    let other = lab.ejecta(["report", "out"]);
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(
        other.stderr.contains("in use by another ejecta"),
        "{other:?}"
    );
    run.signal(Signal::INT);
    let (ended, events) = run.end();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    lab.nothing_left("out");
    let told = |event: &str| events.iter().find(|e| e["event"] == event).cloned();
    let over = told("finished").expect("the end is told");
    assert_eq!(over["exit_code"], 130);
    assert_eq!(over["complete"], false);
    let way_on = told("interrupted").expect("the way on is told");
    let command = way_on["resume"].as_str().expect("a command");
    let finished = crates(&events, "job-finished");
    let results = lab.results("out");
    assert_eq!(results["totals"]["test-pass"], finished.len());
    assert_eq!(results["totals"]["unknown"], JOBS - finished.len());
    let summary = lab.read("out", "summary.md");
    assert!(summary.contains("incomplete: "), "{summary}");

    let out = lab.path("out");
    let expected = format!("ejecta run --resume --out {}", out.display());
    assert_eq!(command, expected);
    let (ended, events) = lab.resume("out").end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    check_resumed(&events, &finished);
    check_complete(&lab, "out");
}

#[test]
fn a_person_in_a_hurry_may_interrupt_twice() {
    let Some(lab) = lab() else { return };
    let run = Running::start(lab.command(lab.run_args("out", &args())));
    run.wait_for_stderr("[ 1/12] ");
    run.signal(Signal::INT);
    run.signal(Signal::INT);
    // Whether the second one came while it was still stopping is a matter of luck; all else is not.
    let ended = run.end_text();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let (ended, _) = lab.resume("out").end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    check_complete(&lab, "out");
}

#[test]
fn a_person_who_stops_a_run_is_told_how_to_go_on() {
    let Some(lab) = lab() else { return };
    let run = Running::start(lab.command(lab.run_args("out", &args())));
    run.wait_for_stderr("[ 1/12] ");
    run.signal(Signal::TERM);
    let ended = run.end_text();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let out = lab.path("out");
    let command = format!("ejecta run --resume --out {}", out.display());
    assert!(ended.stderr.contains(&command), "{}", ended.stderr);
    assert!(ended.stdout.contains("incomplete: "), "{}", ended.stdout);
    lab.nothing_left("out");
}

#[test]
fn another_compiler_does_not_go_on_with_an_experiment() {
    let Some(lab) = lab() else { return };
    let which = ["which", "--toolchain", "stable", "rustc"];
    let rustc = Command::new("rustup").args(which).output();
    let rustc = String::from_utf8(rustc.expect("rustup").stdout).expect("UTF-8");
    let stable = Path::new(rustc.trim()).ancestors().nth(2);
    let link = lab.path("toolchain");
    symlink(stable.expect("a toolchain"), &link).expect("writable");
    let args = ["--crates", "list:passes", "--candidate", "path:toolchain"];
    let ended = lab.run("out", &args);
    assert_eq!(ended.code, Some(0), "{ended:?}");

    let other = lab.path("other/bin");
    fs_err::create_dir_all(&other).expect("writable");
    for program in ["rustc", "cargo"] {
        let script = lab.write(
            &format!("other/bin/{program}"),
            &format!("#!/bin/sh\necho {program} 1.2.3 '(0123abc 2015-01-01)'\n"),
        );
        fs_err::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("writable");
    }
    let std = lab.path("other/lib/rustlib/x86_64-unknown-linux-gnu/lib");
    fs_err::create_dir_all(&std).expect("writable");
    fs_err::write(std.join("libcore-0.rlib"), "").expect("writable");
    fs_err::remove_file(&link).expect("writable");
    symlink(lab.path("other"), &link).expect("writable");
    let before = lab.read("out", "results.json");
    let (ended, events) = lab.resume("out").end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let told = ended.stderr.contains("the candidate toolchain `path:")
        && ended
            .stderr
            .contains("is another one than when the experiment started");
    assert!(told, "{}", ended.stderr);
    assert_eq!(events, Vec::<Value>::new());
    assert_eq!(lab.read("out", "results.json"), before);
    assert_eq!(containers_of(&lab.path("out")), Vec::<String>::new());
}
