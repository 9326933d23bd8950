//! The Docker backend: the promises of every backend, and its own about containers.
//!
//! Needs a Docker daemon. Without one the tests say so and pass, unless `EJECTA_REQUIRE_DOCKER=1`
//! is set.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails where it stands, and says when it was skipped"
)]

mod sandbox_suite;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{KillContainerOptions, ListContainersOptionsBuilder};
use ejecta_agent::sandbox::docker::{DockerOptions, DockerSandbox, Metering};
use ejecta_agent::sandbox::{Command, ErrorClass, Exit, Mount, Sandbox, SandboxError, SandboxSpec};
use ejecta_core::limits::LimitHit;
use sandbox_suite::{Bench, Output, limits, sh};

fn options(owner: &str) -> DockerOptions {
    DockerOptions {
        owner: format!("test {owner}"),
        ..DockerOptions::default()
    }
}

async fn connect(options: DockerOptions) -> Option<DockerSandbox> {
    match DockerSandbox::connect(options).await {
        Ok(sandbox) => Some(sandbox),
        Err(error @ SandboxError::Unreachable { .. }) => {
            let required = std::env::var_os("EJECTA_REQUIRE_DOCKER").is_some();
            assert!(!required, "{error}");
            println!("SKIPPED: no Docker: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

async fn open() -> Option<DockerSandbox> {
    connect(options("promises")).await
}

every_promise!(open());

/// Identifiers of all containers, running or not, with this owner.
async fn containers(owner: &str) -> Vec<String> {
    let docker = Docker::connect_with_defaults().unwrap();
    let docker = docker.negotiate_version().await.unwrap();
    let label = format!("dev.ejecta.owner=test {owner}");
    let filters = HashMap::from([("label", vec![label.as_str()])]);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters)
        .build();
    let found = docker.list_containers(Some(options)).await.unwrap();
    found.into_iter().filter_map(|found| found.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_however_an_instance_ends() {
    let owner = "endings";
    let Some(sandbox) = connect(options(owner)).await else {
        return;
    };
    let destroyed = Bench::new(&sandbox, limits()).await;
    let dropped = Bench::new(&sandbox, limits()).await;
    let forgotten = Bench::new(&sandbox, limits()).await;
    let mut cancelled = Bench::new(&sandbox, limits()).await;
    assert_eq!(containers(owner).await.len(), 4);
    destroyed.end().await;
    assert_eq!(containers(owner).await.len(), 3);
    drop(dropped);
    let running = cancelled.run("sleep 600");
    let stopped = tokio::time::timeout(Duration::from_secs(1), running).await;
    assert!(stopped.is_err());
    sandbox.shutdown().await.unwrap();
    assert_eq!(containers(owner).await, Vec::<String>::new());
    drop(forgotten);
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_killed_from_outside_is_our_failure() {
    let owner = "killed";
    let Some(sandbox) = connect(options(owner)).await else {
        return;
    };
    let mut bench = Bench::new(&sandbox, limits()).await;
    let id = containers(owner).await.remove(0);
    let killer = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let docker = Docker::connect_with_defaults().unwrap();
        let docker = docker.negotiate_version().await.unwrap();
        docker
            .kill_container(&id, None::<KillContainerOptions>)
            .await
            .unwrap();
    });
    let mut output = Output::default();
    let error = bench.instance.run(&sh("sleep 600"), &mut output).await;
    let error = error.unwrap_err();
    assert!(matches!(error, SandboxError::Lost { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Transient);
    killer.await.unwrap();
    bench.end().await;
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_measures_where_cgroups_cannot_be_read() {
    let metered = DockerOptions {
        metering: Metering::Daemon,
        ..options("metering")
    };
    let Some(sandbox) = connect(metered).await else {
        return;
    };
    sandbox_suite::usage_is_measured(&sandbox).await;
    sandbox_suite::a_stuck_step_is_stopped_and_a_silent_busy_one_is_not(&sandbox).await;
    let mut bench = Bench::new(&sandbox, limits()).await;
    let (run, _) = bench.run("tail /dev/zero; exit 101").await;
    assert_eq!(run.exit, Exit::Limit(LimitHit::Oom));
    bench.end().await;
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() {
    if open().await.is_none() {
        return;
    }
    let image = DockerOptions {
        image: Some("ejecta.invalid/no-such-image:1".to_owned()),
        ..options("missing")
    };
    let error = DockerSandbox::connect(image).await.err().unwrap();
    assert_eq!(error.class(), ErrorClass::Permanent);
    let text = format!("{error}; {}", error.hint().unwrap());
    assert!(
        text.contains("docker pull ejecta.invalid/no-such-image:1"),
        "{text}"
    );
    let runtime = DockerOptions {
        runtime: Some("no-such-runtime".to_owned()),
        ..options("missing")
    };
    let error = DockerSandbox::connect(runtime).await.err().unwrap();
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert!(error.to_string().contains("no-such-runtime"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_can_be_the_userland() {
    let Some(host) = open().await else {
        return;
    };
    // Without the host's /usr mounted over it our own image has no program at all.
    let image = DockerOptions {
        image: Some(host.image().to_owned()),
        ..options("image")
    };
    let sandbox = DockerSandbox::connect(image).await.unwrap();
    let mut spec = SandboxSpec {
        name: "image".to_owned(),
        mounts: Vec::new(),
        limits: limits(),
    };
    let error = sandbox.create(&spec).await.err().unwrap();
    assert!(matches!(error, SandboxError::Refused { .. }), "{error:?}");
    spec.mounts.push(Mount {
        host: "/usr".into(),
        guest: "/usr".to_owned(),
        writable: false,
    });
    let mut instance = sandbox.create(&spec).await.unwrap();
    let mut output = Output::default();
    let run = instance.run(&sh("echo here"), &mut output).await.unwrap();
    assert_eq!(
        (run.exit, output.stdout.as_str()),
        (Exit::Code(0), "here\n")
    );
    instance.destroy().await.unwrap();
    sandbox.shutdown().await.unwrap();
    assert_eq!(containers("image").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_running_steps_as_our_failure() {
    let owner = "shutdown";
    let Some(sandbox) = connect(options(owner)).await else {
        return;
    };
    let mut bench = Bench::new(&sandbox, limits()).await;
    let mut output = Output::default();
    let command = sh("sleep 600");
    let (run, ()) = tokio::join!(bench.instance.run(&command, &mut output), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        sandbox.shutdown().await.unwrap();
    });
    let error = run.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{error:?}");
    assert_eq!(containers(owner).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_not_there_is_named_by_the_error() {
    let owner = "absent";
    let Some(sandbox) = connect(options(owner)).await else {
        return;
    };
    let spec = SandboxSpec {
        name: owner.to_owned(),
        mounts: vec![Mount {
            host: "/no/such/directory".into(),
            guest: "/ejecta/work".to_owned(),
            writable: false,
        }],
        limits: limits(),
    };
    let error = sandbox.create(&spec).await.err().unwrap();
    assert!(error.to_string().contains("/no/such/directory"), "{error}");
    assert_eq!(error.class(), ErrorClass::Bug);
    let mut bench = Bench::new(&sandbox, limits()).await;
    let command = Command {
        cwd: "/no/such/directory".to_owned(),
        ..sh("true")
    };
    let error = bench.instance.run(&command, &mut Output::default()).await;
    let error = error.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{error:?}");
    bench.end().await;
    sandbox.shutdown().await.unwrap();
}

/// Set in the environment of the process that the test below starts and kills.
const LEAVE: &str = "EJECTA_TEST_LEAVES_A_CONTAINER";

#[tokio::test(flavor = "multi_thread")]
async fn leave_a_container_when_told_to() {
    if std::env::var_os(LEAVE).is_none() {
        return;
    }
    let sandbox = connect(options("leftover")).await.unwrap();
    let _bench = Bench::new(&sandbox, limits()).await;
    println!("\nleft");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not() {
    let Some(sandbox) = connect(options("living")).await else {
        return;
    };
    let mut bench = Bench::new(&sandbox, limits()).await;
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "leave_a_container_when_told_to", "--nocapture"])
        .env(LEAVE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).any(|line| line == "left");
    assert!(told, "the other process made its container");
    sandbox.clean_leftovers().await.unwrap();
    assert_eq!(containers("leftover").await.len(), 1, "it is alive");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(sandbox.clean_leftovers().await.unwrap(), 1);
    assert_eq!(containers("leftover").await, Vec::<String>::new());
    let (run, _) = bench.run("true").await;
    assert_eq!(run.exit, Exit::Code(0), "ours is untouched");
    bench.end().await;
    sandbox.shutdown().await.unwrap();
}
