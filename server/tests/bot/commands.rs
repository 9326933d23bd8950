//! Commands that go well.

use ejecta_server::bot::backend::Stage;

use crate::talk::{BASE, HEAD, ISSUE, MERGE, REPO, Talk, alice};

#[test]
fn ping() {
    let mut talk = Talk::start();
    talk.alice("@ejecta ping");
    insta::assert_snapshot!(talk.thread());
}

#[test]
fn help() {
    let mut talk = Talk::start();
    talk.alice("@Ejecta HELP");
    let said = talk.said();
    assert_eq!(said.len(), 1);
    assert!(
        said[0].contains("| `run` | queue an experiment |"),
        "{}",
        said[0]
    );
}

#[test]
fn check_after_a_try_build() {
    let mut talk = Talk::with_try_build();
    talk.github.label(REPO, 1, "S-waiting-on-bors");
    talk.github.label(REPO, 1, "T-compiler");
    talk.alice("Looks good. How many crates does it break?\n\n@ejecta check");
    insta::assert_snapshot!(talk.thread());
    let made = talk.coordinator.made("pr-1");
    assert_eq!(made.baseline.to_string(), format!("master#{BASE}"));
    assert_eq!(made.candidate.to_string(), format!("try#{MERGE}"));
    assert_eq!(made.mode.to_string(), "check-only");
    assert_eq!(
        made.requirement.map(|r| r.to_string()).as_deref(),
        Some("linux")
    );
}

#[test]
fn names_count_up() {
    let mut talk = Talk::with_try_build();
    for _ in 0..3 {
        talk.alice("@ejecta check");
    }
    assert_eq!(talk.coordinator.experiments(), ["pr-1", "pr-1-1", "pr-1-2"]);
    assert_eq!(talk.said().len(), 3);
}

#[test]
fn the_pull_request_has_moved_on() {
    let mut talk = Talk::with_try_build();
    talk.github
        .push(REPO, 1, "dddddddddddddddddddddddddddddddddddddddd");
    talk.alice("@ejecta run mode=build-only crates=top-1000 scope=lib");
    insta::assert_snapshot!(talk.thread());
}

#[test]
fn the_last_try_build_counts() {
    let mut talk = Talk::with_try_build();
    let (merge, base) = ("e".repeat(40), "f".repeat(40));
    talk.try_build(&merge, &base, HEAD);
    talk.alice("@ejecta check");
    let made = talk.coordinator.made("pr-1");
    assert_eq!(made.candidate.to_string(), format!("try#{merge}"));
    assert_eq!(made.baseline.to_string(), format!("master#{base}"));
}

#[test]
fn a_try_build_far_down_a_long_thread_is_found() {
    let mut talk = Talk::with_try_build();
    for n in 0..250 {
        talk.github
            .comment(REPO, 1, &alice(), &format!("remark {n}"));
    }
    talk.alice("@ejecta check");
    assert_eq!(talk.coordinator.experiments(), ["pr-1"]);
    assert_eq!(talk.github.hits("GET", "/issues/1/comments"), 3);
}

#[test]
fn a_candidate_alone_brings_its_parent() {
    let mut talk = Talk::with_try_build();
    let (merge, base) = ("1".repeat(40), "2".repeat(40));
    talk.github.commit(REPO, &merge, &[&base, HEAD]);
    talk.alice(&format!("@ejecta run end=try#{merge}"));
    let made = talk.coordinator.made("pr-1");
    assert_eq!(made.baseline.to_string(), format!("master#{base}"));
    assert_eq!(made.candidate.to_string(), format!("try#{merge}"));
}

#[test]
fn everything_is_named_on_an_issue() {
    let mut talk = Talk::start();
    let text = "@ejecta run name=beta-1.99 start=stable end=\"beta+rustflags=-D warnings\" \
                mode=clippy scope=all crates=top-100 cap-lints=forbid p=10 ignore-denylist=true \
                requirement=windows assign=agent:big-1";
    talk.writes(&alice(), ISSUE, text);
    talk.works().expect("a memory that works");
    insta::assert_snapshot!(talk.thread_of(ISSUE));
    insta::assert_debug_snapshot!(talk.coordinator.made("beta-1.99"));
}

#[test]
fn edit_abort_and_cancel() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta check");
    talk.alice("@ejecta check p=5");
    talk.alice("@ejecta name=pr-1 p=7");
    talk.alice("@ejecta p=8");
    talk.alice("@ejecta abort");
    talk.alice("@ejecta cancel name=pr-1");
    insta::assert_snapshot!(talk.thread());
}

#[test]
fn retry() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta check");
    talk.coordinator.bring("pr-1", Stage::Completed);
    talk.coordinator.worth_retrying("pr-1", 17);
    talk.alice("@ejecta retry p=3");
    assert_eq!(talk.coordinator.experiments(), ["pr-1", "pr-1-1"]);
    insta::assert_snapshot!(talk.said()[1]);
}

#[test]
fn retry_of_an_experiment_from_elsewhere() {
    let mut talk = Talk::start();
    talk.alice("@ejecta run name=beta-1 start=stable end=beta");
    talk.coordinator.bring("beta-1", Stage::Completed);
    talk.coordinator.worth_retrying("beta-1", 1);
    talk.alice("@ejecta retry name=beta-1");
    assert_eq!(talk.coordinator.experiments(), ["beta-1", "beta-1-1"]);
}

#[test]
fn the_report_again() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta check");
    talk.coordinator.bring("pr-1", Stage::Failed);
    talk.alice("@ejecta retry-report");
    insta::assert_snapshot!(talk.said()[1]);
}

#[test]
fn the_queue() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta queue");
    talk.alice("@ejecta check");
    talk.alice("@ejecta check p=5");
    talk.alice("@ejecta run name=beta start=stable end=beta");
    talk.coordinator.bring("beta", Stage::Running);
    talk.alice("@ejecta queue");
    let said = talk.said();
    assert!(said[0].contains("Nothing is running"), "{}", said[0]);
    insta::assert_snapshot!(said[4]);
}

#[test]
fn several_commands_in_one_comment() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta ping\nand then\n@ejecta chekc\n@ejecta check\n@ejecta abort");
    insta::assert_snapshot!(talk.thread());
}

#[test]
fn what_is_quoted_or_shown_is_no_command() {
    let mut talk = Talk::with_try_build();
    talk.alice("> @ejecta check\n\nNot yet. Later we will write\n```\n@ejecta check\n```\nand not @ejecta run.");
    assert!(talk.said().is_empty());
    assert!(talk.coordinator.experiments().is_empty());
}

#[test]
fn an_edited_comment_is_not_replayed() {
    let mut talk = Talk::with_try_build();
    let mut event = talk.github.comment(REPO, 1, &alice(), "@ejecta check");
    event["action"] = "edited".into();
    assert_eq!(talk.delivers(&event), 200);
    event["action"] = "deleted".into();
    assert_eq!(talk.delivers(&event), 200);
    talk.works().expect("a memory that works");
    assert!(talk.coordinator.experiments().is_empty());
}
