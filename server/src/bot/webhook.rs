//! Webhooks: the door through which comments come.
//!
//! What is behind it is not trusted before its signature is right, and then it is only kept: the
//! answer goes out at once, and the comment is handled from the inbox.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Notify;

use super::command::is_addressed;
use super::mailbox::{Inbox, Received};
use super::model::{DeliveryId, Incoming, RepoName, Thread, User};
use crate::Clock;

/// The largest body that is read, in bytes. A comment and the text of its thread have at most
/// 65,536 characters each, and a character at most 12 bytes in JSON.
pub const MAX_BODY: usize = 2 * 1024 * 1024;
/// The longest id of a delivery, in bytes; GitHub's have 36.
const MAX_DELIVERY: usize = 100;

/// What the door needs.
pub struct Door {
    key: hmac::Key,
    /// The name to which the bot listens.
    name: String,
    repositories: Vec<RepoName>,
    inbox: Arc<dyn Inbox>,
    clock: Clock,
    /// Rung when a comment came in.
    bell: Arc<Notify>,
}

impl Door {
    /// A door for comments to `name` on `repositories`, which are signed with `secret`; `bell` is
    /// rung for each that is kept.
    pub fn new(
        secret: &SecretString,
        name: &str,
        repositories: Vec<RepoName>,
        inbox: Arc<dyn Inbox>,
        clock: Clock,
        bell: Arc<Notify>,
    ) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()),
            name: name.to_owned(),
            repositories,
            inbox,
            clock,
            bell,
        }
    }

    /// The route: `POST /`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/", post(knock))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(Arc::new(self))
    }

    fn listens_to(&self, repo: &RepoName) -> bool {
        let name = repo.to_string();
        let mut known = self.repositories.iter();
        known.any(|known| known.to_string().eq_ignore_ascii_case(&name))
    }

    /// Whether `signature` (`sha256=` and 64 hexadecimal digits) is ours over `body`; in constant
    /// time.
    fn is_signed(&self, body: &[u8], signature: &str) -> bool {
        let tag = signature.strip_prefix("sha256=").and_then(from_hex);
        tag.is_some_and(|tag| hmac::verify(&self.key, body, &tag).is_ok())
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

/// What GitHub tells of a comment, as far as we read it.
#[derive(Debug, Deserialize)]
struct CommentEvent {
    action: String,
    repository: Repository,
    issue: Issue,
    comment: Comment,
    sender: Person,
}

#[derive(Debug, Deserialize)]
struct Repository {
    full_name: String,
}

#[derive(Debug, Deserialize)]
struct Issue {
    number: u64,
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Comment {
    id: u64,
    body: Option<String>,
    user: Person,
}

#[derive(Debug, Deserialize)]
struct Person {
    id: u64,
    login: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

type Answer = (StatusCode, &'static str);

async fn knock(State(door): State<Arc<Door>>, headers: HeaderMap, body: Bytes) -> Answer {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(signature) = header("x-hub-signature-256") else {
        return (StatusCode::UNAUTHORIZED, "no x-hub-signature-256\n");
    };
    if !door.is_signed(&body, signature) {
        tracing::warn!("a webhook with a wrong signature was refused");
        return (StatusCode::UNAUTHORIZED, "the signature is wrong\n");
    }
    let delivery = header("x-github-delivery").filter(|id| (1..=MAX_DELIVERY).contains(&id.len()));
    let Some(delivery) = delivery else {
        return (StatusCode::BAD_REQUEST, "no x-github-delivery\n");
    };
    match header("x-github-event") {
        Some("issue_comment") => take(&door, delivery, &body).await,
        Some("ping") => (StatusCode::OK, "pong\n"),
        Some(_) => (StatusCode::OK, "not for us\n"),
        None => (StatusCode::BAD_REQUEST, "no x-github-event\n"),
    }
}

async fn take(door: &Door, delivery: &str, body: &[u8]) -> Answer {
    let event: CommentEvent = match serde_json::from_slice(body) {
        Ok(event) => event,
        Err(error) => {
            tracing::warn!("failed to read a signed webhook: {error}");
            return (StatusCode::BAD_REQUEST, "not a comment's event\n");
        }
    };
    let Ok(repo) = event.repository.full_name.parse() else {
        return (StatusCode::BAD_REQUEST, "no repository's name\n");
    };
    if !door.listens_to(&repo) {
        return (StatusCode::OK, "not for us\n");
    }
    // An edit replays nothing, and whoever edits another's comment does not command as them.
    if event.action != "created" || event.sender.id != event.comment.user.id {
        return (StatusCode::OK, "not for us\n");
    }
    // Bots answer bots for ever.
    if event.sender.kind.as_deref() == Some("Bot") {
        return (StatusCode::OK, "not for us\n");
    }
    let body = event.comment.body.unwrap_or_default();
    if !is_addressed(&body, &door.name) {
        return (StatusCode::OK, "not for us\n");
    }
    let incoming = Incoming {
        thread: Thread {
            repo,
            number: event.issue.number,
        },
        pull_request: event.issue.pull_request.is_some(),
        comment: event.comment.id,
        author: User {
            id: event.comment.user.id,
            login: event.comment.user.login,
        },
        body,
    };
    let delivery = DeliveryId(delivery.to_owned());
    match door
        .inbox
        .receive(&delivery, &incoming, (door.clock)())
        .await
    {
        Ok(Received::New) => {
            door.bell.notify_one();
            (StatusCode::ACCEPTED, "accepted\n")
        }
        Ok(Received::Repeated) => (StatusCode::OK, "known\n"),
        Err(error) => {
            // GitHub shows the failure, and somebody can have it delivered again.
            tracing::error!("failed to {error}");
            (StatusCode::SERVICE_UNAVAILABLE, "not kept\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::from_hex;

    #[test]
    fn hexadecimal_digits_are_read() {
        assert_eq!(from_hex("00fFa0"), Some(vec![0, 255, 160]));
        for bad in ["0", "0g", "+1", "é0", "0x"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }
}
