//! What must not come through the door.

use ejecta_test_support::github::{Knock, knock, signature};
use serde_json::Value;

use crate::talk::{REPO, SECRET, Talk, alice, mallory};

/// A good delivery, to be spoilt.
struct Delivery {
    event: &'static str,
    id: String,
    signature: Option<String>,
    body: Vec<u8>,
}

impl Delivery {
    fn of(event: &Value) -> Self {
        let body = event.to_string().into_bytes();
        Self {
            event: "issue_comment",
            id: "delivery-a".to_owned(),
            signature: Some(signature(SECRET, &body)),
            body,
        }
    }

    fn comment(talk: &Talk) -> Self {
        Self::of(&talk.github.comment(REPO, 1, &alice(), "@ejecta ping"))
    }

    fn send(&self, talk: &Talk) -> u16 {
        let mut headers = vec![
            ("x-github-event", self.event.to_owned()),
            ("x-github-delivery", self.id.clone()),
        ];
        headers.extend(self.signature.clone().map(|s| ("x-hub-signature-256", s)));
        knock(&Knock {
            to: talk.door,
            path: "/",
            headers,
            body: &self.body,
        })
    }
}

/// Nothing came of it.
fn nothing(talk: &Talk) {
    talk.works().expect("a memory that works");
    assert!(talk.said().is_empty(), "{:?}", talk.said());
    assert!(talk.github.requests().is_empty());
}

#[test]
fn wrong_signatures_are_refused() {
    let talk = Talk::start();
    let good = Delivery::comment(&talk);
    let right = good.signature.clone().expect("signed");
    let digits = right.strip_prefix("sha256=").expect("SHA-256");
    let mut flipped = right.clone().into_bytes();
    let last = flipped.last_mut().expect("digits");
    *last = if *last == b'0' { b'1' } else { b'0' };
    let wrong = [
        None,
        Some(String::new()),
        Some("sha256=".to_owned()),
        Some(digits.to_owned()),
        Some(format!("sha1={digits}")),
        Some(format!("sha512={digits}")),
        Some(format!("sha256={}", &digits[..62])),
        Some(format!("sha256={digits}00")),
        Some(format!("sha256={digits} ")).map(|s| s.replace(' ', "x")),
        Some(String::from_utf8(flipped).expect("digits")),
        Some(signature("another secret than ours", &good.body)),
        Some(signature("", &good.body)),
        Some("sha256=".to_owned() + &"0".repeat(64)),
        Some("sha256=".to_owned() + &"é".repeat(32)),
    ];
    for signature in wrong {
        let bad = Delivery {
            signature: signature.clone(),
            body: good.body.clone(),
            id: good.id.clone(),
            ..good
        };
        assert_eq!(bad.send(&talk), 401, "{signature:?}");
    }
    nothing(&talk);
    // And the right one, after all that, is taken.
    assert_eq!(good.send(&talk), 202);
    talk.works().expect("a memory that works");
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn a_changed_body_is_refused() {
    let talk = Talk::start();
    let mut spoilt = Delivery::of(&talk.github.comment(REPO, 1, &mallory(), "@ejecta ping"));
    let body = String::from_utf8(spoilt.body).expect("JSON");
    spoilt.body = body.replace("mallory", "alice").into_bytes();
    assert_eq!(spoilt.send(&talk), 401);
    nothing(&talk);
}

#[test]
fn replays_change_nothing() {
    let talk = Talk::start();
    let mut delivery = Delivery::comment(&talk);
    assert_eq!(delivery.send(&talk), 202);
    assert_eq!(delivery.send(&talk), 200);
    talk.works().expect("a memory that works");
    assert_eq!(delivery.send(&talk), 200);
    // The id of a delivery is not signed, so an attacker can choose another one.
    "delivery-b".clone_into(&mut delivery.id);
    assert_eq!(delivery.send(&talk), 200);
    talk.works().expect("a memory that works");
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn replays_after_a_restart_change_nothing() {
    let mut talk = Talk::with_try_build();
    let delivery = Delivery::of(&talk.github.comment(REPO, 1, &alice(), "@ejecta check"));
    assert_eq!(delivery.send(&talk), 202);
    talk.works().expect("a memory that works");
    talk.restart();
    assert_eq!(delivery.send(&talk), 200);
    talk.works().expect("a memory that works");
    assert_eq!(talk.coordinator.experiments(), ["pr-1"]);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let talk = Talk::start();
    let body = vec![b' '; 3 * 1024 * 1024];
    let huge = Delivery {
        signature: Some(signature(SECRET, &body)),
        body,
        ..Delivery::comment(&talk)
    };
    assert_eq!(huge.send(&talk), 413);
    nothing(&talk);
}

#[test]
fn the_largest_comment_that_github_takes_comes_through() {
    let mut talk = Talk::start();
    let text = format!("{}\n@ejecta ping", "\u{1F980}".repeat(65_000));
    assert_eq!(talk.writes(&alice(), 1, &text), 202);
    talk.works().expect("a memory that works");
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn other_repositories_do_not_count() {
    let talk = Talk::start();
    for name in ["mallory/rust", "rust-lang/rust2", "rust-lang/rustx", "x"] {
        let mut event = talk.github.comment(REPO, 1, &alice(), "@ejecta ping");
        event["repository"]["full_name"] = name.into();
        let status = Delivery::of(&event).send(&talk);
        assert!(status == 200 || status == 400, "{name}: {status}");
    }
    nothing(&talk);
}

#[test]
fn who_sends_is_who_wrote() {
    let talk = Talk::start();
    let mut event = talk.github.comment(REPO, 1, &alice(), "@ejecta ping");
    event["sender"]["id"] = mallory().id.into();
    assert_eq!(Delivery::of(&event).send(&talk), 200);
    nothing(&talk);
}

#[test]
fn what_is_signed_and_no_event_is_refused() {
    let talk = Talk::start();
    for body in ["", "{}", "[]", "nonsense", "{\"action\":\"created\"}"] {
        let body = body.as_bytes().to_vec();
        let odd = Delivery {
            signature: Some(signature(SECRET, &body)),
            body,
            ..Delivery::comment(&talk)
        };
        assert_eq!(odd.send(&talk), 400);
    }
    nothing(&talk);
}

#[test]
fn deliveries_have_an_id_and_an_event() {
    let talk = Talk::start();
    let good = Delivery::comment(&talk);
    for id in [String::new(), "x".repeat(101)] {
        let bad = Delivery {
            id,
            signature: good.signature.clone(),
            body: good.body.clone(),
            ..good
        };
        assert_eq!(bad.send(&talk), 400);
    }
    for (event, status) in [("ping", 200), ("push", 200), ("issue_comment", 202)] {
        let sent = Delivery {
            event,
            id: event.to_owned(),
            signature: good.signature.clone(),
            body: good.body.clone(),
        };
        assert_eq!(sent.send(&talk), status, "{event}");
    }
    talk.works().expect("a memory that works");
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn what_cannot_be_kept_is_not_accepted() {
    let mut talk = Talk::start();
    talk.memory.break_at("receive");
    let event = talk.github.comment(REPO, 1, &alice(), "@ejecta ping");
    assert_eq!(talk.delivers(&event), 503);
    nothing(&talk);
    // Delivered again, it is.
    assert_eq!(talk.delivers(&event), 202);
    talk.works().expect("a memory that works");
    assert_eq!(talk.said().len(), 1);
}

#[test]
fn other_methods_and_paths_are_not_there() {
    let talk = Talk::start();
    let good = Delivery::comment(&talk);
    let elsewhere = knock(&Knock {
        to: talk.door,
        path: "/../admin",
        headers: Vec::new(),
        body: &good.body,
    });
    assert_eq!(elsewhere, 404);
    nothing(&talk);
}
