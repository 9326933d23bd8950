//! The bot dies, connections are lost, GitHub fails: everything is said, and said once.

use ejecta_server::bot::backend::News;
use ejecta_test_support::github::{Fault, Person};

use crate::talk::{ISSUE, REPO, Talk, alice, mallory};

/// The bot dies at `verb` while it handles a comment; another one takes over.
fn dies_at(verb: &'static str, text: &str) -> Talk {
    let mut talk = Talk::with_try_build();
    talk.memory.break_at(verb);
    talk.writes(&alice(), 1, text);
    talk.works().expect_err("the bot dies");
    talk.restart();
    talk.works().expect("another bot");
    talk
}

#[test]
fn after_the_experiment_was_made_and_before_the_answer_was_kept() {
    let talk = dies_at("put", "@ejecta check");
    assert_eq!(talk.coordinator.experiments(), ["pr-1"]);
    assert_eq!(talk.coordinator.calls(), 2);
    insta::assert_snapshot!(talk.thread());
}

#[test]
fn after_the_answer_was_kept_and_before_the_comment_was_handled() {
    let talk = dies_at("handled", "@ejecta check");
    assert_eq!(talk.coordinator.experiments(), ["pr-1"]);
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn before_the_comment_is_posted() {
    let talk = dies_at("begin", "@ejecta check");
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn after_the_comment_was_posted_and_before_that_was_noted() {
    let talk = dies_at("done", "@ejecta ping");
    assert_eq!(talk.said().len(), 1);
    assert_eq!(talk.github.hits("POST", "/comments"), 1);
}

#[test]
fn among_several_commands() {
    let mut talk = Talk::with_try_build();
    talk.writes(
        &alice(),
        1,
        "@ejecta check\n@ejecta check p=2\n@ejecta ping",
    );
    // The first answer is kept, the second one is not.
    talk.memory.break_at("put");
    talk.works().expect_err("the bot dies");
    talk.restart();
    talk.memory.break_at("handled");
    talk.works().expect_err("the bot dies again");
    talk.restart();
    talk.works().expect("a third one");
    assert_eq!(talk.coordinator.experiments(), ["pr-1", "pr-1-1"]);
    assert_eq!(talk.said().len(), 3);
}

#[test]
fn a_late_replay_does_not_unsay_what_came_after() {
    let mut talk = Talk::with_try_build();
    talk.memory.break_at("handled");
    talk.writes(&alice(), 1, "@ejecta check");
    talk.works().expect_err("the bot dies");
    talk.restart();
    let news = News::Running {
        done: 1,
        total: 2,
        ends: None,
        problem: None,
    };
    talk.tells("pr-1", news);
    talk.works().expect("another bot");
    assert!(
        talk.said()[0].contains("is running: 1 of 2"),
        "{:?}",
        talk.said()
    );
}

#[test]
fn the_connection_is_lost_after_the_comment_was_posted() {
    let mut talk = Talk::start();
    talk.github
        .fail_next("POST", "/comments", 1, &Fault::LostAfter);
    talk.alice("@ejecta ping");
    assert_eq!(talk.said().len(), 1);
    talk.pass(60);
    assert_eq!(talk.said().len(), 1);
    assert_eq!(talk.github.hits("POST", "/comments"), 1);
}

#[test]
fn github_says_that_it_failed_and_did_not() {
    let mut talk = Talk::start();
    talk.github
        .fail_next("POST", "/comments", 1, &Fault::StatusAfter(502));
    talk.alice("@ejecta ping");
    talk.pass(60);
    assert_eq!(talk.said().len(), 1);
    assert_eq!(talk.github.hits("POST", "/comments"), 1);
}

#[test]
fn github_fails_and_nothing_was_posted() {
    let mut talk = Talk::start();
    talk.github
        .fail_next("POST", "/comments", 2, &Fault::Status(503));
    talk.github
        .fail_next("POST", "/comments", 1, &Fault::LostBefore);
    talk.alice("@ejecta ping");
    for _ in 0..3 {
        assert!(talk.said().is_empty());
        talk.pass(60);
    }
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn a_forged_marker_takes_nothing_over() {
    let mut talk = Talk::start();
    talk.github
        .fail_next("POST", "/comments", 1, &Fault::Status(503));
    talk.alice("@ejecta ping");
    // The comment with the command is the first one, and its number is known to everybody.
    let command = talk.github.comments(REPO, 1)[0].id;
    let forged = format!("<!-- ejecta: answer/{command}/0 -->\nall is well");
    talk.github.comment(REPO, 1, &mallory(), &forged);
    // Our own words elsewhere in a comment are no marker either.
    let quoting = Person::new(1_000_000, "ejecta-bot");
    talk.github
        .comment(REPO, 1, &quoting, &format!("quoted\n{forged}"));
    talk.pass(60);
    let comments = talk.github.comments(REPO, 1);
    assert_eq!(comments[1].body, forged);
    assert!(comments[3].body.contains("Pong"), "{comments:?}");
}

#[test]
fn edits_are_repeated_by_themselves() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta check");
    talk.github
        .fail_next("PATCH", "/comments/", 1, &Fault::Status(502));
    talk.github
        .fail_next("PATCH", "/comments/", 1, &Fault::LostAfter);
    talk.news("pr-1", News::Aborted);
    assert!(talk.said()[0].contains("was aborted"));
}

#[test]
fn a_limit_is_waited_for() {
    let mut talk = Talk::start();
    let now = talk.github.time().load(std::sync::atomic::Ordering::SeqCst);
    let limit = Fault::Answer {
        status: 403,
        headers: vec![
            ("x-ratelimit-remaining".to_owned(), "0".to_owned()),
            ("x-ratelimit-reset".to_owned(), (now + 1800).to_string()),
        ],
        message: "API rate limit exceeded".to_owned(),
    };
    talk.github.fail_next("POST", "/comments", 1, &limit);
    talk.alice("@ejecta ping");
    let asked = talk.github.requests().len();
    talk.pass(1700);
    talk.alice("@ejecta queue");
    assert_eq!(
        talk.github.requests().len(),
        asked,
        "no request before the reset"
    );
    talk.pass(200);
    assert_eq!(talk.said().len(), 2);
    assert!(talk.said()[0].contains("Pong"));
}

#[test]
fn a_limit_that_is_announced_is_not_hit() {
    let mut talk = Talk::start();
    let now = talk.github.time().load(std::sync::atomic::Ordering::SeqCst);
    let last = Fault::Answer {
        status: 200,
        headers: vec![
            ("x-ratelimit-remaining".to_owned(), "0".to_owned()),
            ("x-ratelimit-reset".to_owned(), (now + 600).to_string()),
        ],
        message: String::new(),
    };
    talk.github.fail_next("GET", "/issues/1/labels", 1, &last);
    talk.alice("@ejecta run start=stable end=beta");
    let asked = talk.github.requests().len();
    talk.pass(500);
    assert_eq!(talk.github.requests().len(), asked);
    talk.pass(101);
    assert_eq!(talk.github.labels(REPO, 1), ["S-waiting-on-ejecta"]);
}

#[test]
fn a_secondary_limit_is_waited_for_longer_each_time() {
    let mut talk = Talk::start();
    let limit = Fault::Answer {
        status: 403,
        headers: Vec::new(),
        message: "You have exceeded a secondary rate limit".to_owned(),
    };
    talk.github.fail_next("POST", "/comments", 2, &limit);
    talk.alice("@ejecta ping");
    talk.pass(59);
    assert_eq!(talk.github.hits("POST", "/comments"), 1);
    talk.pass(2);
    assert_eq!(talk.github.hits("POST", "/comments"), 2);
    talk.pass(61);
    assert!(talk.said().is_empty());
    talk.pass(60);
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn retry_after_is_heeded() {
    let mut talk = Talk::start();
    let limit = Fault::Answer {
        status: 429,
        headers: vec![("retry-after".to_owned(), "90".to_owned())],
        message: "slow down".to_owned(),
    };
    talk.github.fail_next("POST", "/comments", 1, &limit);
    talk.alice("@ejecta ping");
    talk.pass(89);
    assert!(talk.said().is_empty());
    talk.pass(2);
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn a_locked_thread_holds_up_no_other() {
    let mut talk = Talk::start();
    talk.github.lock_conversation(REPO, 1);
    talk.alice("@ejecta ping");
    talk.writes(&alice(), ISSUE, "@ejecta ping");
    talk.works().expect("a memory that works");
    assert!(talk.said().is_empty());
    assert_eq!(talk.said_in(ISSUE).len(), 1);
    let given_up = talk.memory.given_up();
    assert_eq!(given_up.len(), 1);
    assert!(given_up[0].contains("locked"), "{given_up:?}");
}

#[test]
fn a_comment_that_was_removed_is_not_written_again() {
    let mut talk = Talk::with_try_build();
    talk.alice("@ejecta check");
    let comments = talk.github.comments(REPO, 1);
    let ours = comments.last().expect("the bot's").id;
    talk.github.remove_comment(REPO, 1, ours);
    talk.news("pr-1", News::Aborted);
    assert!(talk.said().is_empty());
    assert_eq!(talk.memory.given_up().len(), 1);
}

#[test]
fn a_right_that_is_missing_is_waited_for() {
    let mut talk = Talk::start();
    let denied = Fault::Answer {
        status: 403,
        headers: Vec::new(),
        message: "Resource not accessible by integration".to_owned(),
    };
    talk.github.fail_next("POST", "/comments", 1, &denied);
    talk.alice("@ejecta ping");
    talk.pass(60);
    assert!(talk.said().is_empty());
    talk.pass(900);
    assert_eq!(talk.said().len(), 1);
}
