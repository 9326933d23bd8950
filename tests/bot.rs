//! Conversations with the bot of a real `ejecta server`: what people write, what the bot answers,
//! and what becomes of both when something dies.

#[path = "bot/builds.rs"]
mod builds;
#[path = "bot/rights.rs"]
mod rights;
#[path = "bot/stage.rs"]
mod stage;

use ejecta_test_support::github::{Fault, Person};
use stage::{ISSUE, PR, REPO, SECRET, Stage, alice, bob, mallory};

#[test]
fn ping() {
    let mut stage = Stage::new();
    stage.alice("@ejecta ping");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn help() {
    let mut stage = Stage::new();
    stage.alice("@ejecta help");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn an_empty_queue() {
    let mut stage = Stage::new();
    stage.alice("@ejecta queue");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn a_run_of_the_last_try_build() {
    let mut stage = Stage::with_try_build();
    stage.alice("@ejecta run crates=list:passes,leaf");
    stage.until("the label", |s| !s.github.labels(REPO, PR).is_empty());
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn a_check_with_toolchains_of_its_own() {
    let mut stage = Stage::new();
    stage.alice("@ejecta check start=stable end=beta crates=list:passes scope=lib p=3");
    stage.until("the label", |s| !s.github.labels(REPO, PR).is_empty());
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn the_pull_request_has_moved_on() {
    let mut stage = Stage::new();
    stage.try_build("dddddddddddddddddddddddddddddddddddddddd");
    stage.alice("@ejecta check crates=list:passes");
    insta::assert_snapshot!(stage.said()[0]);
}

#[test]
fn without_a_try_build() {
    let mut stage = Stage::new();
    stage.alice("@ejecta run crates=list:passes");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn in_an_issue_a_name_is_needed() {
    let mut stage = Stage::new();
    let run = "@ejecta run start=stable end=beta crates=list:passes";
    stage.writes(&alice(), ISSUE, run);
    stage.until("the mistake", |s| s.said_in(ISSUE).len() == 1);
    stage.writes(&alice(), ISSUE, &format!("{run} name=mine"));
    stage.until("the answer", |s| s.said_in(ISSUE).len() == 2);
    insta::assert_snapshot!(stage.said_in(ISSUE).join("\n\n---\n\n"));
}

#[test]
fn edited_while_it_waits() {
    let mut stage = Stage::with_try_build();
    stage.alice("@ejecta check crates=list:passes");
    stage.alice("@ejecta crates=list:leaf,program scope=lib p=2");
    stage.alice("@ejecta queue");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn an_edit_of_what_there_is_not() {
    let mut stage = Stage::with_try_build();
    stage.alice("@ejecta check crates=list:passes name=first");
    stage.alice("@ejecta p=2 name=frist");
    insta::assert_snapshot!(stage.said()[1]);
}

#[test]
fn aborted_and_then_not_there_to_be_aborted() {
    let mut stage = Stage::with_try_build();
    stage.alice("@ejecta check crates=list:passes");
    stage.alice("@ejecta cancel");
    stage.alice("@ejecta abort");
    stage.until("the end", |s| s.said()[0].contains("was aborted"));
    let label = ["S-waiting-on-review"];
    stage.until("the label", |s| s.github.labels(REPO, PR) == label);
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn the_queue_by_priority() {
    let mut stage = Stage::with_try_build();
    stage.alice("@ejecta check crates=list:passes");
    stage.alice("@ejecta check crates=list:leaf p=5");
    stage.alice("@ejecta check crates=list:program name=low p=-1");
    stage.alice("@ejecta queue");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn a_name_that_is_taken() {
    let mut stage = Stage::with_try_build();
    stage.alice("@ejecta check crates=list:passes name=mine");
    stage.alice("@ejecta check crates=list:leaf name=mine");
    insta::assert_snapshot!(stage.said()[1]);
}

#[test]
fn mistakes() {
    let mut stage = Stage::with_try_build();
    for mistake in [
        "rnu crates=full",
        "run crate=full",
        "run mode=chek-only",
        "run p=high",
        "run end=path:/etc",
        "run crates=local:/etc",
        "check mode=build-only",
        "abort p=1",
    ] {
        stage.alice(&format!("@ejecta {mistake}"));
    }
    insta::assert_snapshot!(stage.said().join("\n\n---\n\n"));
}

#[test]
fn a_crate_that_there_is_not() {
    let mut stage = Stage::with_try_build();
    stage.alice("@ejecta check crates=list:passes,no-such-crate");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn a_requirement_that_is_none() {
    let mut stage = Stage::with_try_build();
    stage.alice("@ejecta check crates=list:passes requirement=:x");
    insta::assert_snapshot!(stage.said()[0]);
}

#[test]
fn several_commands_in_one_comment() {
    let mut stage = Stage::with_try_build();
    let text = "Let us see.\n@ejecta check crates=list:passes\n> @ejecta abort\n@EJECTA ping\n```\n@ejecta help\n```";
    stage.writes(&alice(), PR, text);
    stage.until("two answers", |s| s.said().len() == 2);
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn nothing_to_retry_yet() {
    let mut stage = Stage::with_try_build();
    stage.alice("@ejecta retry");
    stage.alice("@ejecta check crates=list:passes");
    stage.alice("@ejecta retry");
    stage.alice("@ejecta retry-report");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn a_stranger_is_told_so_once() {
    let mut stage = Stage::with_try_build();
    stage.says(&mallory(), "@ejecta run");
    stage.writes(&mallory(), PR, "@ejecta run");
    stage.says(&bob(), "@ejecta ping");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn rights_are_read_again_on_command() {
    let mut stage = Stage::new();
    stage.says(&mallory(), "@ejecta ping");
    stage.github.team("rust-lang", "compiler", &[&mallory()]);
    stage.alice("@ejecta reload-acl");
    stage.says(&mallory(), "@ejecta ping");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn bots_are_not_answered() {
    let mut stage = Stage::new();
    let other = Person::bot(8, "another[bot]");
    assert_eq!(stage.writes(&other, PR, "@ejecta ping"), 200);
    stage.alice("@ejecta ping");
    assert_eq!(stage.said().len(), 1);
}

#[test]
fn a_delivery_that_is_replayed_changes_nothing() {
    let mut stage = Stage::with_try_build();
    let event = stage
        .github
        .comment(REPO, PR, &alice(), "@ejecta check crates=list:passes");
    assert_eq!(stage.knocks(&event, "one", SECRET), 202);
    assert_eq!(stage.knocks(&event, "one", SECRET), 200);
    stage.until("the answer", |s| s.said().len() == 1);
    assert_eq!(stage.knocks(&event, "another", SECRET), 200);
    stage.restart();
    assert_eq!(stage.knocks(&event, "a third", SECRET), 200);
    stage.alice("@ejecta queue");
    assert_eq!(stage.said().len(), 2);
    assert!(
        stage.said()[1].contains("1 experiment in"),
        "{}",
        stage.said()[1]
    );
}

#[test]
fn a_wrong_signature_is_refused() {
    let mut stage = Stage::new();
    let event = stage.github.comment(REPO, PR, &alice(), "@ejecta ping");
    assert_eq!(
        stage.knocks(&event, "one", "another secret altogether"),
        401
    );
    stage.alice("@ejecta help");
    assert!(!stage.said()[0].contains("Pong"));
    assert_eq!(stage.said().len(), 1);
}

#[test]
fn what_is_too_large_is_refused() {
    let stage = Stage::new();
    let long = format!("@ejecta ping {}", "x".repeat(3 * 1024 * 1024));
    let event = stage.github.comment(REPO, ISSUE, &alice(), &long);
    assert_eq!(stage.knocks(&event, "one", SECRET), 413);
}

#[test]
fn killed_between_the_webhook_and_the_answer() {
    let mut stage = Stage::with_try_build();
    stage.writes(&alice(), PR, "@ejecta check crates=list:passes");
    stage.restart();
    stage.until("the answer", |s| s.said().len() == 1);
    stage.until("the label", |s| !s.github.labels(REPO, PR).is_empty());
    stage.nothing_is_doubled();
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn killed_after_the_comment_was_posted_and_before_that_was_known() {
    let mut stage = Stage::new();
    stage
        .github
        .fail_next("POST", "/comments", 1, &Fault::StatusAfter(502));
    stage.writes(&alice(), PR, "@ejecta ping");
    stage.until("the comment", |s| s.said().len() == 1);
    stage.restart();
    stage.alice("@ejecta queue");
    assert_eq!(stage.said().len(), 2);
    stage.nothing_is_doubled();
}

#[test]
fn github_fails_for_a_while() {
    let mut stage = Stage::with_try_build();
    stage
        .github
        .fail_next("GET", "/comments", 2, &Fault::Status(502));
    stage
        .github
        .fail_next("POST", "/comments", 1, &Fault::StatusAfter(502));
    stage
        .github
        .fail_next("POST", "/labels", 1, &Fault::LostAfter);
    stage.alice("@ejecta check crates=list:passes");
    stage.until("the label", |s| !s.github.labels(REPO, PR).is_empty());
    stage.alice("@ejecta ping");
    assert_eq!(stage.said().len(), 2);
    stage.nothing_is_doubled();
}

#[test]
fn a_limit_of_github_is_waited_for() {
    let mut stage = Stage::new();
    let limit = Fault::Answer {
        status: 429,
        headers: vec![("retry-after".to_owned(), "2".to_owned())],
        message: "slow down".to_owned(),
    };
    stage.github.fail_next("POST", "/comments", 1, &limit);
    stage.alice("@ejecta ping");
    assert_eq!(stage.github.hits("POST", "/comments"), 2);
    stage.nothing_is_doubled();
}

/// A regression that is planted for one toolchain, and how it is asked for.
const PLANTED: &str = r#"@ejecta run start=stable end="stable+rustflags=--cfg planted" mode=check-only crates=list:planted-lib,passes"#;

#[test]
fn a_regression_from_the_comment_to_the_verdict() {
    let mut stage = Stage::new();
    stage.alice(&format!("{PLANTED} scope=lib"));
    stage.agent();
    stage.until("the verdict", |s| s.said().len() == 2);
    stage.until("the end", |s| s.said()[0].contains("is completed"));
    insta::assert_snapshot!("regression", stage.thread());

    stage.alice("@ejecta retry");
    stage.until("the second verdict", |s| s.said().len() == 4);
    insta::assert_snapshot!("regression_again", stage.said()[3]);

    stage.alice("@ejecta retry-report name=pr-1");
    stage.until("the answer", |s| s.said().len() == 5);
    stage.nothing_is_doubled();
}

#[test]
fn an_early_verdict_before_the_whole_one() {
    let mut stage = Stage::new();
    stage.alice(&format!("{PLANTED} scope=all"));
    stage.agent();
    stage.until("the early verdict and the whole one", |s| {
        s.said().len() == 3
    });
    stage.until("the end", |s| s.said()[1].contains("superseded"));
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn killed_during_an_experiment() {
    let mut stage = Stage::new();
    stage.alice(&format!("{PLANTED} scope=all"));
    stage.agent();
    stage.until("it runs", |s| s.said()[0].contains("is running"));
    stage.restart();
    stage.until("the verdict", |s| {
        s.said()
            .iter()
            .any(|body| body.contains("**1 crate regressed**"))
    });
    stage.until("the end", |s| s.said()[0].contains("is completed"));
    stage.nothing_is_doubled();
}

#[test]
fn aborted_while_it_runs() {
    let mut stage = Stage::new();
    stage.alice(&format!("{PLANTED} scope=all"));
    stage.agent();
    stage.until("it runs", |s| s.said()[0].contains("is running"));
    stage.alice("@ejecta abort");
    stage.until("the end", |s| s.said()[0].contains("was aborted"));
    assert_eq!(stage.said().len(), 2, "{}", stage.thread());
}
