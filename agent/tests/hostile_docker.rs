//! The hostile suite on Docker: no attack gets through, and each does where its defence is gone.
//!
//! Needs a Docker daemon and rustup's `stable`. Without Docker the tests say so and pass, unless
//! `EJECTA_REQUIRE_DOCKER=1` is set. `EJECTA_TEST_RUNTIME=runsc` runs the suite in that runtime.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails where it stands, and says when it was skipped"
)]

#[path = "hostile/daemon.rs"]
mod daemon;
mod hostile;

use std::path::PathBuf;
use std::sync::Arc;

use ejecta_agent::sandbox::SandboxError;
use ejecta_agent::sandbox::docker::{DockerOptions, DockerSandbox};
use hostile::attacks::{Defence, Expect};
use hostile::{Lab, REACHED, attacks};

async fn open() -> Option<Lab> {
    open_for(None).await
}

async fn open_for(user: Option<(u32, u32)>) -> Option<Lab> {
    let options = DockerOptions {
        runtime: std::env::var("EJECTA_TEST_RUNTIME").ok(),
        owner: "test hostile".to_owned(),
        user,
        ..DockerOptions::default()
    };
    match DockerSandbox::connect(options).await {
        Ok(sandbox) => Some(Lab::open(Arc::new(sandbox)).await),
        Err(error @ SandboxError::Unreachable { .. }) => {
            let required = std::env::var_os("EJECTA_REQUIRE_DOCKER").is_some();
            assert!(!required, "{error}");
            println!("\n**** SKIPPED: no Docker: {error} ****\n");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

every_group!(open());

/// Where the process that the test below starts finds the real daemon.
const DAEMON: &str = "EJECTA_TEST_REAL_DOCKER";

/// Attacks that a machine may itself have no room for (a kernel without this socket family or
/// without modules, a daemon that may not do it either): they fail without their defence too.
const BEYOND_THE_MACHINE: [&str; 3] = ["af-alg", "loading-modules", "never-killed-for-memory"];

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_succeeds_where_its_defence_is_gone() {
    if open().await.is_none() || std::env::var_os("EJECTA_TEST_RUNTIME").is_some() {
        return;
    }
    let real = std::env::var("DOCKER_HOST").unwrap_or("unix:///var/run/docker.sock".to_owned());
    let Some(real) = real.strip_prefix("unix://") else {
        println!(
            "\n**** SKIPPED: defences are taken away only of a daemon on a Unix socket ****\n"
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let between = format!("unix://{}/docker.sock", dir.path().display());
    let status = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "without_defences_when_told_to", "--nocapture"])
        .env("DOCKER_HOST", between)
        .env(DAEMON, real)
        .status()
        .await;
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_defences_when_told_to() {
    let Some(real) = std::env::var_os(DAEMON) else {
        return;
    };
    let path = std::env::var("DOCKER_HOST").unwrap();
    let path = PathBuf::from(path.strip_prefix("unix://").unwrap());
    let without = daemon::Without::default();
    daemon::serve(&path, real.into(), &without);
    let labs = [open().await.unwrap(), open_for(Some((0, 0))).await.unwrap()];
    let only = std::env::var("EJECTA_TEST_ATTACK").unwrap_or_default();
    let mut withstood = Vec::new();
    let shown = attacks::all().filter(|a| !a.defences.is_empty() && a.name.contains(&only));
    for attack in shown {
        let lab = &labs[usize::from(attack.defences.contains(&Defence::User))];
        without.set(attack.defences, lab.dir());
        let found = if attack.defences == [Defence::Limits] {
            lab.run_unbounded(attack).await
        } else {
            lab.run(attack).await
        };
        let through = match attack.judge(&found) {
            Ok(()) => lab.clean(&found.log).is_err(),
            // An attempt says so itself; all others must only come out differently.
            Err(_) => !matches!(attack.expect, Expect::Passes) || found.log.contains(REACHED),
        };
        println!("{} without {:?}: {through}", attack.name, attack.defences);
        if !through && !BEYOND_THE_MACHINE.contains(&attack.name) {
            withstood.push(format!("{}: {}", attack.name, found.log));
        }
    }
    for lab in labs {
        lab.close().await;
    }
    assert!(withstood.is_empty(), "{}", withstood.join("\n\n"));
}
