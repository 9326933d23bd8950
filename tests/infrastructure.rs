//! What goes wrong around a run is no verdict on a crate: containers killed from outside, an image
//! that is not there, a Docker daemon that dies, a disk that is full.

use ejecta_test_support::{
    CrateFixture, Ended, Lab, PrivateDocker, Running, SmallDisk, docker_or_skip,
    kill_containers_of, root_or_skip,
};
use serde_json::Value;

/// Rings when its build script runs, and takes its time then.
const SLEEPER: &str = r#"
fn main() {
    std::thread::sleep(std::time::Duration::from_secs(4));
    let out = std::env::var_os("OUT_DIR").unwrap();
    std::fs::write(std::path::Path::new(&out).join("big"), vec![1_u8; 16 << 20]).unwrap();
}
"#;

fn lab() -> Option<Lab> {
    let lab = docker_or_skip().then(|| Lab::new(env!("CARGO_BIN_EXE_ejecta")))?;
    lab.registry
        .publish(&CrateFixture::new("sleeper", "1.0.0").file("build.rs", SLEEPER));
    Some(lab)
}

const PLANTED: &str = "stable+rustflags=--cfg planted";

fn start(lab: &Lab, args: &[&str], docker: Option<&PrivateDocker>) -> Running {
    let mut all = lab.run_args("out", args);
    all.extend(["--message-format", "json", "--sandbox", "docker"].map(str::to_owned));
    let mut command = lab.command(all);
    if let Some(docker) = docker {
        command.env("DOCKER_HOST", docker.host());
    }
    Running::start(command)
}

fn krate<'a>(results: &'a Value, name: &str) -> &'a Value {
    let mut crates = results["crates"].as_array().expect("an array").iter();
    crates.find(|c| c["name"] == name).expect("the crate")
}

/// The run ended for a fault of ours, and said so; what there is of a report blames no crate.
fn incomplete(lab: &Lab, ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let results = lab.results("out");
    assert_eq!(results["experiment"]["complete"], false);
    for verdict in [
        "regressed",
        "fixed",
        "build-fail",
        "test-fail",
        "broken",
        "prepare-fail",
    ] {
        assert_eq!(results["totals"][verdict], 0, "{verdict}");
    }
    results
}

fn failures(events: &[Value]) -> Vec<&Value> {
    events
        .iter()
        .filter(|e| e["event"] == "job-failed")
        .collect()
}

#[test]
fn containers_killed_from_outside_cost_an_attempt_and_no_verdict() {
    let Some(lab) = lab() else { return };
    let args = [
        "--crates",
        "list:sleeper,planted-lib",
        "--candidate",
        PLANTED,
        "--jobs",
        "2",
    ];
    let mut run = start(&lab, &args, None);
    assert!(run.wait_for("job-running", 2), "{:?}", run.events);
    // The build script sleeps by now, or will in a moment.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(kill_containers_of(&lab.path("out")) > 0, "nothing to kill");
    let (ended, events) = run.end();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(!failures(&events).is_empty(), "{events:?}");
    let results = lab.results("out");
    assert_eq!(krate(&results, "sleeper")["verdict"], "test-pass");
    assert_eq!(krate(&results, "sleeper")["attempts"], 2);
    let planted = krate(&results, "planted-lib");
    assert_eq!(planted["verdict"], "regressed");
    assert_eq!(planted["candidate"]["runs"], 2);
    assert_eq!(planted["baseline"]["runs"], 2);
    assert_eq!(results["experiment"]["complete"], true);
    lab.nothing_left("out");
}

#[test]
fn a_job_whose_containers_are_always_killed_is_an_error_of_ours() {
    let Some(lab) = lab() else { return };
    let args = [
        "--crates",
        "list:sleeper,passes",
        "--candidate",
        "stable",
        "--jobs",
        "1",
    ];
    let mut run = start(&lab, &args, None);
    assert!(run.wait_for("started", 1), "{:?}", run.events);
    let out = lab.path("out");
    let killing = std::thread::spawn(move || {
        // A container of `passes` may be among those that are hit.
        while !out.join("results.json").exists() {
            kill_containers_of(&out);
            std::thread::sleep(std::time::Duration::from_millis(700));
        }
    });
    let (ended, events) = run.end();
    killing.join().expect("no assertion in it fails");
    let results = incomplete(&lab, &ended);
    let sleeper = krate(&results, "sleeper");
    assert_eq!(sleeper["verdict"], "error");
    assert_eq!(sleeper["attempts"], 3);
    let message = sleeper["message"].as_str().expect("a message");
    assert!(
        message.contains("sandbox") || message.contains("container"),
        "{message}"
    );
    assert!(failures(&events).len() >= 3, "{events:?}");
}

#[test]
fn an_image_that_is_missing_is_a_mistake_of_the_set_up() {
    let Some(lab) = lab() else { return };
    let args = ["--crates", "list:passes", "--candidate", "stable"];
    let image = ["--image", "ejecta-nonexistent:1"];
    let ended = lab.run("out", &[&args[..], &image[..]].concat());
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let told = ended
        .stderr
        .contains("failed to find the image `ejecta-nonexistent:1`")
        && ended
            .stderr
            .contains("hint: fetch it with `docker pull ejecta-nonexistent:1`");
    assert!(told, "{}", ended.stderr);
}

#[test]
fn a_docker_that_dies_for_good_ends_the_run_and_blames_no_crate() {
    let Some(lab) = lab().filter(|_| root_or_skip()) else {
        return;
    };
    let mut docker = PrivateDocker::start();
    let args = [
        "--crates",
        "list:sleeper,planted-lib",
        "--candidate",
        PLANTED,
        "--jobs",
        "2",
    ];
    let mut run = start(&lab, &args, Some(&docker));
    assert!(run.wait_for("job-running", 1), "{:?}", run.events);
    docker.kill();
    let (ended, events) = run.end();
    let results = incomplete(&lab, &ended);
    assert!(!failures(&events).is_empty(), "{events:?}");
    let gave_up = |e: &&Value| {
        e["message"]
            .as_str()
            .is_some_and(|m| m.starts_with("gave up"))
    };
    assert!(events.iter().any(|e| gave_up(&e)), "{events:?}");

    // Once it is back the same command goes on, and only now there are verdicts.
    assert_eq!(results["totals"]["regressed"], 0);
    docker.restart();
    let mut command = lab.command([
        "run",
        "--resume",
        "--out",
        "out",
        "--message-format",
        "json",
    ]);
    command.env("DOCKER_HOST", docker.host());
    let (ended, _) = Running::start(command).end();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let results = lab.results("out");
    assert_eq!(krate(&results, "sleeper")["verdict"], "test-pass");
    assert_eq!(krate(&results, "planted-lib")["verdict"], "regressed");
}

#[test]
fn a_docker_that_restarts_is_waited_for() {
    let Some(lab) = lab().filter(|_| root_or_skip()) else {
        return;
    };
    let mut docker = PrivateDocker::start();
    // One job at once: its three attempts must outlast the restart.
    let args = [
        "--crates",
        "list:sleeper,passes,leaf",
        "--candidate",
        "stable",
        "--jobs",
        "1",
    ];
    let mut run = start(&lab, &args, Some(&docker));
    assert!(run.wait_for("job-running", 1), "{:?}", run.events);
    docker.kill();
    assert!(run.wait_for("job-failed", 1), "{:?}", run.events);
    std::thread::sleep(std::time::Duration::from_secs(12));
    docker.restart();
    let (ended, events) = run.end();
    assert_eq!(ended.code, Some(0), "{}\n{events:?}", ended.stderr);
    let results = lab.results("out");
    assert_eq!(results["totals"]["test-pass"], 3);
    assert_eq!(results["experiment"]["complete"], true);
}

#[test]
fn a_disk_that_fills_up_and_empties_again_costs_attempts_only() {
    let Some(lab) = lab().filter(|_| root_or_skip()) else {
        return;
    };
    let disk = SmallDisk::mount(&lab.path("out"), 400);
    let args = [
        "--crates",
        "list:sleeper,planted-lib",
        "--candidate",
        PLANTED,
        "--jobs",
        "1",
    ];
    let mut run = start(&lab, &args, None);
    assert!(run.wait_for("job-running", 1), "{:?}", run.events);
    // What the coordinator writes still fits; what jobs write does not.
    disk.fill_but(8 * 1024);
    assert!(run.wait_for("job-failed", 1), "{:?}", run.events);
    disk.empty();
    let (ended, events) = run.end();
    assert_eq!(ended.code, Some(1), "{}\n{events:?}", ended.stderr);
    let first = failures(&events)[0]["error"].as_str().expect("an error");
    assert!(first.contains("are left on its disk"), "{first}");
    let results = lab.results("out");
    assert_eq!(krate(&results, "sleeper")["verdict"], "test-pass");
    assert_eq!(krate(&results, "planted-lib")["verdict"], "regressed");
    lab.nothing_left("out");
}

#[test]
fn a_disk_without_any_room_is_waited_for() {
    let Some(lab) = lab().filter(|_| root_or_skip()) else {
        return;
    };
    let disk = SmallDisk::mount(&lab.path("out"), 400);
    let args = [
        "--crates",
        "list:sleeper,planted-lib",
        "--candidate",
        PLANTED,
        "--jobs",
        "2",
    ];
    let mut run = start(&lab, &args, None);
    assert!(run.wait_for("job-running", 1), "{:?}", run.events);
    disk.fill_but(0);
    run.wait_for_stderr("database or disk is full");
    disk.empty();
    let (ended, events) = run.end();
    assert_eq!(ended.code, Some(1), "{}\n{events:?}", ended.stderr);
    let results = lab.results("out");
    assert_eq!(krate(&results, "sleeper")["verdict"], "test-pass");
    assert_eq!(krate(&results, "planted-lib")["verdict"], "regressed");
    lab.nothing_left("out");
}

#[test]
fn a_disk_without_any_room_ends_the_run_and_blames_no_crate() {
    let Some(lab) = lab().filter(|_| root_or_skip()) else {
        return;
    };
    let disk = SmallDisk::mount(&lab.path("out"), 400);
    let args = [
        "--crates",
        "list:sleeper,planted-lib",
        "--candidate",
        PLANTED,
        "--jobs",
        "2",
    ];
    let mut run = start(&lab, &args, None);
    assert!(run.wait_for("job-running", 1), "{:?}", run.events);
    disk.fill_but(0);
    let (ended, events) = run.end();
    assert_eq!(ended.code, Some(3), "{}\n{events:?}", ended.stderr);
    assert!(ended.stderr.contains("full"), "{}", ended.stderr);
    // Whether there was room for a report, once the jobs' directories were gone, is a matter of
    // luck; the way on is told with it or without it.
    let told = format!("{}{events:?}", ended.stderr);
    assert!(told.contains("ejecta run --resume --out"), "{told}");

    disk.empty();
    let (ended, _) = lab.resume("out").end();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let results = lab.results("out");
    assert_eq!(results["totals"]["regressed"], 1);
    assert_eq!(krate(&results, "sleeper")["verdict"], "test-pass");
    lab.nothing_left("out");
}

#[test]
fn a_disk_that_is_too_small_is_told() {
    let Some(lab) = lab().filter(|_| root_or_skip()) else {
        return;
    };
    let _disk = SmallDisk::mount(&lab.path("out"), 20);
    let args = ["--crates", "list:planted-lib", "--candidate", PLANTED];
    let (ended, events) = start(&lab, &args, None).end();
    let results = incomplete(&lab, &ended);
    assert_eq!(krate(&results, "planted-lib")["verdict"], "error");
    assert_eq!(failures(&events).len(), 3, "{events:?}");
    let message = krate(&results, "planted-lib")["message"].as_str();
    let told = "less than 256 MiB or a thousand files are left on its disk";
    assert!(message.is_some_and(|m| m.contains(told)), "{message:?}");
}
