//! An experiment that asks for what no agent has says so, wherever one looks, until one has it.

use std::sync::atomic::Ordering;

use ejecta_core::client::ExperimentView;
use serde_json::{Value, json};

use crate::client::{Server, TOKEN, submission};

async fn view(server: &Server, reader: &str) -> ExperimentView {
    let path = "/experiments/wants";
    server.by(Some(reader), "GET", path, "").await.json()
}

async fn problem(server: &Server, reader: &str) -> Option<String> {
    view(server, reader).await.problem
}

async fn claim(server: &Server, capabilities: &Value) {
    let body = json!({
        "protocol": 1, "agent": "tester", "slots": 1, "capabilities": capabilities,
        "without": ["e"],
    });
    let body = body.to_string();
    let claimed = server.by(Some(TOKEN), "POST", "/claim", &body).await;
    assert_eq!(claimed.status, 200);
}

#[tokio::test]
async fn what_no_agent_has_is_said_on_the_page_by_the_api_and_in_the_metrics() {
    let server = Server::start().await;
    let person = server.mint(2, "submit", None).await;
    let body = json!({
        "name": "wants", "crates": "3",
        "choices": {"baseline": "stable", "candidate": "beta"},
        "requirements": {"gpu": "yes"},
    });
    let (path, body) = ("/experiments", body.to_string());
    let made = server.by(Some(&person), "POST", path, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let says = "it waits for an agent with gpu=yes, and no agent is alive";
    assert_eq!(problem(&server, &person).await.as_deref(), Some(says));

    // How fast the fleet is, is known.
    server.now.store(10, Ordering::SeqCst);
    let held = server.next().await;
    server.now.store(20, Ordering::SeqCst);
    server.post("submit", &submission(&held, "fine\n")).await;
    claim(&server, &json!({"os": "linux"})).await;
    let says = "it waits for an agent with gpu=yes, which no agent that is alive has";
    assert_eq!(problem(&server, &person).await.as_deref(), Some(says));
    let now = view(&server, &person).await;
    assert_eq!((now.starts, now.ends), (None, None), "nobody knows");
    for page in ["/", "/experiments/wants"] {
        let page = server.read(page).await;
        assert!(page.body.contains(says), "{}", page.body);
    }
    let metrics = server.read("/metrics").await.body;
    assert!(
        metrics.contains("\nejecta_experiments_unmet 1\n"),
        "{metrics}"
    );

    // The page and the figures are of the last seconds; the API is of now.
    claim(&server, &json!({"gpu": "yes"})).await;
    let now = view(&server, &person).await;
    assert_eq!(now.problem, None);
    assert!(now.ends.is_some(), "it is under way: {now:?}");
}
