//! Who may command, and what happens when nobody knows.

use ejecta_test_support::github::{Fault, Person};
use serde_json::json;

use crate::talk::{ISSUE, REPO, Talk, alice, bob, bors, carol, mallory};

#[test]
fn those_who_are_named_and_members_of_teams_may() {
    let mut talk = Talk::start();
    for who in [alice(), bob(), carol()] {
        talk.says(&who, "@ejecta ping");
    }
    let said = talk.said();
    assert_eq!(said.len(), 3);
    assert!(said.iter().all(|text| text.contains("Pong")), "{said:?}");
    // The lists are read once.
    assert_eq!(talk.github.hits("GET", "/teams/"), 1);
    assert_eq!(talk.github.hits("GET", "/v1/permissions/"), 1);
}

#[test]
fn strangers_are_told_so_once_in_a_thread() {
    let mut talk = Talk::with_try_build();
    talk.says(&mallory(), "@ejecta check");
    talk.says(&mallory(), "@ejecta ping\n@ejecta help");
    insta::assert_snapshot!(talk.thread());
    talk.writes(&mallory(), ISSUE, "@ejecta ping");
    talk.works().expect("a memory that works");
    assert_eq!(talk.said_in(ISSUE).len(), 1);
    assert_eq!(talk.coordinator.calls(), 0);
}

#[test]
fn a_name_that_passed_to_somebody_else_brings_nothing() {
    let mut talk = Talk::start();
    talk.says(&Person::new(6666, "bob"), "@ejecta ping");
    talk.says(&Person::new(6666, "carol"), "@ejecta ping");
    assert!(
        talk.said()
            .iter()
            .all(|text| text.contains("may not command"))
    );
}

#[test]
fn bots_are_not_answered() {
    let mut talk = Talk::start();
    assert_eq!(talk.writes(&bors(), 1, "@ejecta ping"), 200);
    talk.works().expect("a memory that works");
    assert!(talk.said().is_empty());
}

#[test]
fn when_teams_cannot_be_read_only_those_who_are_named_may() {
    let mut talk = Talk::start();
    talk.github
        .fail_next("GET", "/teams/", 100, &Fault::Status(503));
    talk.says(&bob(), "@ejecta ping");
    talk.says(&alice(), "@ejecta ping");
    insta::assert_snapshot!(talk.thread());
}

#[test]
fn a_failure_is_not_asked_about_again_at_once() {
    let mut talk = Talk::start();
    talk.github
        .fail_next("GET", "/teams/", 100, &Fault::Status(500));
    talk.says(&bob(), "@ejecta ping");
    let asked = talk.github.hits("GET", "/teams/");
    talk.says(&bob(), "@ejecta ping");
    assert_eq!(talk.github.hits("GET", "/teams/"), asked);
    talk.github.mend();
    talk.github.pass(31);
    talk.says(&bob(), "@ejecta ping");
    assert!(talk.said()[2].contains("Pong"), "{:?}", talk.said());
}

#[test]
fn old_lists_count_for_a_while_and_then_nobody_is_on_them() {
    let mut talk = Talk::start();
    talk.says(&bob(), "@ejecta ping");
    talk.github
        .fail_next("GET", "/v1/permissions/", 1000, &Fault::Status(404));
    // Nothing is served there by the routes: the document is asked for and refused.
    talk.pass(3600);
    talk.says(&bob(), "@ejecta ping");
    talk.pass(3600);
    talk.says(&bob(), "@ejecta ping");
    let said = talk.said();
    assert!(said[1].contains("Pong"), "{said:?}");
    assert!(said[2].contains("could not be found out"), "{said:?}");
}

#[test]
fn who_left_a_team_may_no_more_after_a_while() {
    let mut talk = Talk::start();
    talk.says(&bob(), "@ejecta ping");
    talk.github.team("rust-lang", "compiler", &[]);
    talk.says(&bob(), "@ejecta ping");
    talk.pass(16 * 60);
    talk.says(&bob(), "@ejecta ping");
    let said = talk.said();
    assert!(said[1].contains("Pong"));
    assert!(said[2].contains("may not command"), "{said:?}");
}

#[test]
fn lists_are_read_again_on_command() {
    let mut talk = Talk::start();
    let dave = Person::new(4, "dave");
    talk.says(&dave, "@ejecta ping");
    talk.github.team("rust-lang", "compiler", &[&bob(), &dave]);
    talk.says(&bob(), "@ejecta reload-acl");
    talk.says(&dave, "@ejecta ping");
    insta::assert_snapshot!(talk.thread());
}

#[test]
fn a_failed_command_to_read_lists_again_says_so() {
    let mut talk = Talk::start();
    talk.says(&bob(), "@ejecta ping");
    talk.github
        .document("/v1/permissions/ejecta.json", json!({ "nothing": [] }));
    talk.says(&bob(), "@ejecta reload-acl");
    talk.says(&bob(), "@ejecta ping");
    insta::assert_snapshot!(talk.said()[1].replace(&talk.github.url(), "https://data.example"));
    assert!(talk.said()[2].contains("Pong"));
}

#[test]
fn large_teams_are_read_to_the_end() {
    let mut talk = Talk::start();
    let people: Vec<Person> = (100..450)
        .map(|n| Person::new(n, &format!("p{n}")))
        .collect();
    let all: Vec<&Person> = people.iter().collect();
    talk.github.team("rust-lang", "compiler", &all);
    talk.says(people.last().expect("many"), "@ejecta ping");
    assert!(talk.said()[0].contains("Pong"));
    assert_eq!(talk.github.comments(REPO, 1).len(), 2);
}
