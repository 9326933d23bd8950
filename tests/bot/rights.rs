//! Who may command: people, teams on GitHub, and the Rust project's data of teams.

use ejecta_test_support::github::Fault;

use crate::stage::{PR, Stage, alice, bob, carol, mallory};

#[test]
fn teams_of_both_kinds_may() {
    let mut stage = Stage::new();
    stage.says(&bob(), "@ejecta ping");
    stage.says(&carol(), "@ejecta ping");
    stage.says(&mallory(), "@ejecta ping");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn who_left_the_team_data_may_no_more() {
    let mut stage = Stage::new();
    stage.says(&carol(), "@ejecta ping");
    stage.team_data(&[&mallory()]);
    stage.says(&carol(), "@ejecta ping");
    stage.says(&carol(), "@ejecta reload-acl");
    stage.says(&carol(), "@ejecta ping");
    stage.says(&mallory(), "@ejecta ping");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn lists_that_cannot_be_read_let_nobody_in() {
    let mut stage = Stage::new();
    let down = Fault::Status(503);
    stage
        .github
        .fail_next("GET", "/v1/permissions", 1000, &down);
    stage.says(&carol(), "@ejecta ping");
    // One list that cannot be read is all of them: who is on which is not known.
    stage.says(&bob(), "@ejecta ping");
    stage.says(&alice(), "@ejecta reload-acl");
    stage.github.mend();
    stage.says(&alice(), "@ejecta reload-acl");
    stage.says(&carol(), "@ejecta ping");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn the_last_lists_count_while_new_ones_cannot_be_read() {
    let mut stage = Stage::new();
    stage.says(&carol(), "@ejecta ping");
    let down = Fault::Status(503);
    stage
        .github
        .fail_next("GET", "/v1/permissions", 1000, &down);
    stage.says(&alice(), "@ejecta reload-acl");
    stage.says(&carol(), "@ejecta ping");
    stage.says(&mallory(), "@ejecta ping");
    insta::assert_snapshot!(stage.thread());
}

#[test]
fn the_bot_as_an_app() {
    let mut stage = Stage::of_app();
    stage.try_build(crate::stage::HEAD);
    stage.alice("@ejecta check crates=list:passes");
    stage.says(&bob(), "@ejecta ping");
    // Its token is taken away before its time.
    stage.github.revoke_tokens();
    stage.writes(&alice(), PR, "@ejecta queue");
    stage.until("the queue", |s| s.said().len() == 3);
    stage.nothing_is_doubled();
    insta::assert_snapshot!(stage.thread());
}
