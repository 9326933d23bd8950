//! What the coordinator logs: each error once, and no secret ever. Alone in its program, because
//! what is logged where is a choice of the whole process.

#[expect(
    dead_code,
    reason = "shared with the other tests, which use more of it"
)]
#[path = "it/client.rs"]
mod client;
#[expect(
    dead_code,
    reason = "shared with the other tests, which use more of it"
)]
#[path = "it/fixtures.rs"]
mod fixtures;

use std::io::Write;
use std::sync::{Arc, Mutex};

use ejecta_core::protocol::{ClaimRequest, PROTOCOL};

use crate::client::{Server, TOKEN, authorization};

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_ever_logged_and_each_error_once() {
    let captured = Captured::default();
    let writer = captured.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let claim = "/api/v1/claim";
    let server = Server::start().await;
    let request = ClaimRequest {
        protocol: PROTOCOL,
        agent: "tester".to_owned(),
        slots: 1,
        capabilities: ejecta_core::capability::Capabilities::default(),
        without: Vec::new(),
        traffic: ejecta_core::traffic::Traffic::default(),
    };
    server.post("claim", &request).await;
    let near = format!("authorization: Bearer {TOKEN}x\r\n");
    server.send("POST", claim, &near, "{}").await;
    server.send("POST", claim, &authorization(), "{").await;
    let query = format!("{claim}?token={TOKEN}");
    server.send("POST", &query, "", "{}").await;
    let admin = server.mint(9, "admin", None).await;
    server.by(Some(TOKEN), "GET", "/experiments", "").await;
    let token = r#"{"label":"x","scopes":["read"]}"#;
    let made = server.by(Some(&admin), "POST", "/tokens", token).await;
    let made: ejecta_core::client::NewToken = made.json();
    server
        .by(Some(&made.token), "DELETE", "/tokens/x", "")
        .await;
    server.store.close().await;
    let last = server.post("claim", &request).await;

    let text = captured.0.lock().expect("not poisoned").clone();
    let text = String::from_utf8(text).expect("UTF-8");
    for secret in [TOKEN, &admin, &made.token] {
        assert!(!text.contains(secret), "{text}");
        let (_, secret) = secret.rsplit_once('_').expect("two parts");
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(text.matches("a request was refused").count(), 5, "{text}");
    assert_eq!(text.matches("a request failed").count(), 1, "{text}");
    assert!(text.contains("status=503"), "{text}");
    // Each has an id of its own, which its answer has, too.
    let ids: Vec<&str> = text
        .split("request=\"")
        .skip(1)
        .filter_map(|after| after.split('"').next())
        .collect();
    let distinct: std::collections::BTreeSet<&&str> = ids.iter().collect();
    let lines = text.lines().filter(|line| line.contains(": a request "));
    assert_eq!(
        (ids.len(), distinct.len()),
        (lines.clone().count(), ids.len()),
        "{text}"
    );
    assert!(
        lines
            .clone()
            .any(|line| line.contains("a request was answered")),
        "{text}"
    );
    let id = ids.last().expect("there were requests");
    let header = format!("x-request-id: {id}");
    assert!(last.head.contains(&header), "{header}: {}", last.head);
}
