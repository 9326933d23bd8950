//! `/readyz`: which part cannot.

use serde_json::{Value, json};

use crate::client::Server;

/// Asks without a token, as supervisors do.
async fn ready(server: &Server) -> (u16, Value) {
    let answer = server.send("GET", "/readyz", "", "").await;
    assert!(
        answer.head.contains("cache-control: no-store"),
        "{}",
        answer.head
    );
    (answer.status, answer.json())
}

#[tokio::test]
async fn a_coordinator_that_can_work_is_ready() {
    let server = Server::start().await;
    let all = json!({"ready": true, "coordinator": "ok", "store": "ok", "logs": "ok"});
    assert_eq!(ready(&server).await, (200, all));
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_named() {
    let server = Server::start().await;
    server.store.close().await;
    let (status, parts) = ready(&server).await;
    let expected = json!({"ready": false, "coordinator": "ok", "store": "failed", "logs": "ok"});
    assert_eq!((status, parts), (503, expected));
    // The process lives all the same.
    assert_eq!(server.send("GET", "/healthz", "", "").await.status, 200);
}

#[tokio::test]
async fn a_place_for_logs_that_is_gone_is_named() {
    let server = Server::start().await;
    let dir = server.dir.path();
    std::fs::rename(dir, dir.with_extension("gone")).expect("moved");
    let (status, parts) = ready(&server).await;
    std::fs::rename(dir.with_extension("gone"), dir).expect("moved back");
    assert_eq!(status, 503);
    assert_eq!(parts["logs"], "failed");
    assert_eq!(ready(&server).await.0, 200, "it is ready again");
}

#[tokio::test]
async fn one_that_stops_is_not_ready() {
    let server = Server::start().await;
    server.coordinator.stop();
    let (status, parts) = ready(&server).await;
    assert_eq!((status, &parts["coordinator"]), (503, &json!("stopping")));
}
