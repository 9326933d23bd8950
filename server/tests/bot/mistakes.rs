//! Commands that do not go well: each has an answer that helps.

use ejecta_server::bot::backend::{Refusal, Stage};
use ejecta_test_support::github::Fault;

use crate::talk::{HEAD, ISSUE, MERGE, REPO, Talk, alice};

#[test]
fn words_that_are_wrong() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta chekc");
    talk.alice("@ejecta run crates=top-0");
    talk.alice("@ejecta check mode=fix");
    talk.alice("@ejecta run cap-lints=wran");
    talk.alice("@ejecta is @rust-lang/everyone's `favourite` <b>bot</b>");
    assert_eq!(talk.coordinator.calls(), 0);
    insta::assert_snapshot!(talk.thread());
}

#[test]
fn no_try_build() {
    let mut talk = Talk::start();
    talk.alice("@ejecta check");
    talk.alice("@ejecta check start=stable");
    talk.alice("@ejecta check end=beta");
    insta::assert_snapshot!(talk.said().join("\n\n"));
    assert!(talk.coordinator.experiments().is_empty());
}

#[test]
fn somebody_else_tells_of_a_try_build() {
    let mut talk = Talk::start();
    let told =
        format!("<!-- homu: {{\"type\":\"TryBuildCompleted\",\"merge_sha\":\"{MERGE}\"}} -->");
    talk.github.commit(REPO, MERGE, &["a", HEAD]);
    talk.github.comment(REPO, 1, &crate::talk::mallory(), &told);
    talk.alice("@ejecta check");
    assert!(talk.said()[0].contains("no finished try build was found"));
}

#[test]
fn the_try_build_has_no_commit() {
    let mut talk = Talk::start();
    talk.alice(&format!("@ejecta check end=try#{MERGE}"));
    let said = talk.said();
    assert!(said[0].contains("is not in this repository"), "{}", said[0]);
}

#[test]
fn an_issue_gives_no_name_and_no_toolchains() {
    let mut talk = Talk::start();
    for text in ["@ejecta check", "@ejecta run name=x", "@ejecta abort"] {
        talk.writes(&alice(), ISSUE, text);
        talk.works().expect("a memory that works");
    }
    insta::assert_snapshot!(talk.thread_of(ISSUE));
}

#[test]
fn a_name_that_is_taken() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta check name=mine");
    talk.alice("@ejecta check name=mine");
    insta::assert_snapshot!(talk.said()[1]);
}

#[test]
fn a_name_that_there_is_not() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta check");
    talk.alice("@ejecta abort name=pr-l");
    talk.alice("@ejecta retry name=something-else");
    insta::assert_snapshot!(talk.said()[1..].join("\n\n"));
}

#[test]
fn too_late_and_too_early() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta check");
    talk.alice("@ejecta retry");
    talk.alice("@ejecta retry-report");
    talk.coordinator.bring("pr-1", Stage::Running);
    talk.alice("@ejecta p=9");
    talk.coordinator.bring("pr-1", Stage::Completed);
    talk.alice("@ejecta retry");
    talk.alice("@ejecta abort");
    insta::assert_snapshot!(talk.said()[1..].join("\n\n"));
}

#[test]
fn what_the_coordinator_refuses() {
    let mut talk = Talk::with_try_build();
    let why = "no agent has `windows`; there are: linux".to_owned();
    talk.coordinator.refuse_next(1, &Refusal::Invalid(why));
    talk.alice("@ejecta check requirement=windows");
    let why = "failed to write to the store: disk full".to_owned();
    talk.coordinator.refuse_next(1, &Refusal::Broken(why));
    talk.alice("@ejecta check");
    insta::assert_snapshot!(talk.said().join("\n\n"));
}

#[test]
fn a_hitch_of_the_coordinator_passes() {
    let mut talk = Talk::with_try_build();
    let busy = Refusal::Transient("the store is busy".to_owned());
    talk.coordinator.refuse_next(2, &busy);
    talk.alice("@ejecta check");
    assert!(talk.said().is_empty());
    talk.pass(60);
    talk.pass(60);
    assert_eq!(talk.coordinator.experiments(), ["pr-1"]);
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn a_hitch_that_stays_is_said_after_a_while() {
    let mut talk = Talk::with_try_build();
    let busy = Refusal::Transient("the store is busy".to_owned());
    talk.coordinator.refuse_next(100, &busy);
    talk.alice("@ejecta check");
    for _ in 0..7 {
        assert!(talk.said().is_empty());
        talk.pass(3600);
    }
    insta::assert_snapshot!(talk.said().join("\n\n"));
}

#[test]
fn a_panic_is_not_the_end() {
    let mut talk = Talk::with_try_build();
    talk.coordinator.panic_next();
    talk.alice("@ejecta check");
    assert!(talk.said().is_empty());
    talk.pass(60);
    assert_eq!(talk.coordinator.experiments(), ["pr-1"]);
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn github_fails_while_the_try_build_is_read() {
    let mut talk = Talk::with_try_build();
    talk.github
        .fail_next("GET", "/commits/", 3, &Fault::Status(502));
    talk.alice("@ejecta check");
    assert!(talk.said().is_empty());
    talk.pass(60);
    assert_eq!(talk.coordinator.experiments(), ["pr-1"]);
}
