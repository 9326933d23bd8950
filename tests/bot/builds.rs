//! Experiments with compilers of try builds, which agents download.

use std::path::Path;

use ejecta_test_support::ToolchainServer;

use crate::stage::{BASE, MERGE, Stage};

#[test]
fn a_try_build_from_the_comment_to_the_verdict() {
    let builds = ToolchainServer::start();
    for commit in [BASE, MERGE] {
        builds.publish_installed(commit, "stable", Path::new(env!("CARGO_TARGET_TMPDIR")));
    }
    let mut stage = Stage::with_try_build();
    stage.alice(&format!(
        "@ejecta check end=\"try#{MERGE}+rustflags=--cfg planted\" crates=list:planted-lib,passes"
    ));
    stage.agent_with(&["--toolchain-server", &builds.url()]);
    stage.until("the verdict", |s| s.said().len() == 2);
    stage.until("the end", |s| s.said()[0].contains("is completed"));
    let asked = builds.requests();
    for commit in [BASE, MERGE] {
        assert!(
            asked.iter().any(|one| one.path.contains(commit)),
            "{commit}"
        );
    }
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn a_try_build_whose_compiler_is_gone() {
    let builds = ToolchainServer::start();
    builds.publish_installed(BASE, "stable", Path::new(env!("CARGO_TARGET_TMPDIR")));
    let mut stage = Stage::with_try_build();
    stage.alice("@ejecta check crates=list:passes");
    stage.agent_with(&["--toolchain-server", &builds.url()]);
    stage.until("the failure", |s| s.said().len() == 2);
    stage.until("the end", |s| s.said()[0].contains("has failed"));
    stage.alice("@ejecta queue");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn a_server_of_compilers_that_is_down_for_a_while() {
    let mut stage = Stage::with_try_build();
    stage.alice("@ejecta check crates=list:passes");
    // Nobody listens there: that says nothing of the try build.
    stage.agent_with(&["--toolchain-server", "http://127.0.0.1:9"]);
    stage.until("it is told", |s| s.said()[0].contains("does not get on"));
    stage.alice("@ejecta queue");
    assert!(
        stage.said()[1].contains("1 experiment in"),
        "{}",
        stage.said()[1]
    );
    assert!(stage.said()[0].contains("the agent `one` cannot run it"));
}
