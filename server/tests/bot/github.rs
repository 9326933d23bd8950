//! The bot as a GitHub App: tokens that live an hour.

use ejecta_server::bot::github::{App, Credentials, Github, Retries};
use ejecta_test_support::github::{APP_KEY, Fault};

use crate::talk::{As, REPO, Talk, alice};

#[test]
fn an_app_talks_as_its_bot() {
    let mut talk = Talk::start_as(As::App);
    talk.alice("@ejecta ping");
    talk.alice("@ejecta ping");
    let comments = talk.github.comments(REPO, 1);
    assert_eq!(comments[1].author, "ejecta-bot[bot]");
    assert_eq!(talk.said().len(), 2);
    // One token does for an hour.
    assert_eq!(talk.github.hits("POST", "/access_tokens"), 1);
}

#[test]
fn a_token_is_renewed_before_it_ends() {
    let mut talk = Talk::start_as(As::App);
    talk.alice("@ejecta ping");
    talk.pass(56 * 60);
    talk.alice("@ejecta ping");
    assert_eq!(talk.github.hits("POST", "/access_tokens"), 2);
    assert_eq!(talk.said().len(), 2);
}

#[test]
fn a_token_that_was_revoked_is_replaced() {
    let mut talk = Talk::start_as(As::App);
    talk.alice("@ejecta ping");
    talk.github.revoke_tokens();
    talk.alice("@ejecta ping");
    assert_eq!(talk.said().len(), 2);
}

#[test]
fn a_crash_of_an_app_is_mended_too() {
    let mut talk = Talk::start_as(As::App);
    talk.github
        .fail_next("POST", "/comments", 1, &Fault::LostAfter);
    talk.alice("@ejecta ping");
    talk.restart();
    talk.pass(60);
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn an_app_that_is_not_installed_waits_until_it_is() {
    let mut talk = Talk::start_as(As::App);
    talk.github.uninstall();
    talk.alice("@ejecta ping");
    assert!(talk.said().is_empty());
    assert!(talk.memory.given_up().is_empty());
    assert_eq!(talk.memory.left_over(), 1);
    talk.github.install();
    talk.pass(1000);
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn teams_are_read_as_the_app() {
    let mut talk = Talk::start_as(As::App);
    talk.says(&crate::talk::bob(), "@ejecta ping");
    assert!(talk.said()[0].contains("Pong"));
    assert!(talk.github.hits("GET", "/orgs/rust-lang/installation") == 1);
}

#[test]
fn the_token_appears_nowhere() {
    let talk = Talk::start();
    let token = Credentials::Token("ghp_secret".into());
    assert!(!format!("{token:?}").contains("secret"));
    drop(talk);
    let _ = alice();
}

#[test]
fn a_key_that_is_none_says_what_to_do() {
    for bad in [
        "",
        "nonsense",
        &APP_KEY[..200],
        &APP_KEY.replace("RSA", "EC"),
    ] {
        let error = App::new("1", &bad.to_owned().into()).err().expect("no key");
        let text = error.to_string();
        assert!(text.starts_with("read the App's private key: "), "{text}");
        assert!(!text.contains(&APP_KEY[100..120]), "{text}");
    }
}

#[test]
fn a_token_is_not_sent_in_the_clear() {
    for address in [
        "http://github.example",
        "ftp://github.example",
        "github.example",
    ] {
        let token = Credentials::Token("x".into());
        let clock: ejecta_server::Clock = std::sync::Arc::new(|| jiff::Timestamp::UNIX_EPOCH);
        let error = Github::new(address, token, Retries::default(), clock).err();
        let text = error.expect("no address").to_string();
        assert!(text.contains(address), "{text}");
    }
}
