//! `/metrics`: who may read it, what it says, and that a real parser reads it.

use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use ejecta_core::protocol::ReleaseRequest;
use ejecta_core::traffic::Traffic;

use crate::client::{Server, authorization, submission, token};
use crate::fixtures::LEASE;

/// The value of the sample that is written so, label for label.
fn value(text: &str, sample: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))
        .map(|value| value.parse().expect("a number"))
}

async fn scrape(server: &Server) -> String {
    let answer = server.read("/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let kind = "content-type: text/plain; version=0.0.4; charset=utf-8";
    assert!(answer.head.contains(kind), "{}", answer.head);
    answer.body
}

/// A fleet with a bit of everything behind it.
async fn busy() -> Server {
    let server = Server::start().await;
    server.now.store(10, Ordering::SeqCst);
    let asked = Traffic {
        index_requests: 7,
        download_cache_hits: 30,
        ..Traffic::default()
    };
    let held = server.claim_telling(4, asked).await.grants;
    server.now.store(40, Ordering::SeqCst);
    server.post("submit", &submission(&held[0], "fine\n")).await;
    let given_up = ReleaseRequest {
        lease: held[1].lease.clone(),
        error: "no disk".to_owned(),
        transient: false,
        unstarted: false,
    };
    server.post("release", &given_up).await;
    server
        .send("GET", "/no/such/path", &authorization(), "")
        .await;
    server
        .send("BREW", "/api/v1/claim", &authorization(), "")
        .await;
    server.get("/api/v1/experiments/e/config").await;
    server
}

#[tokio::test]
async fn metrics_are_for_readers() {
    let server = Server::start().await;
    let anonymous = server.send("GET", "/metrics", "", "").await;
    assert_eq!(anonymous.status, 401, "{}", anonymous.body);
    let agent = server.send("GET", "/metrics", &authorization(), "").await;
    assert_eq!(agent.status, 403, "an agent sees nothing but its jobs");
    scrape(&server).await;
}

#[tokio::test]
async fn metrics_say_what_is_there_and_what_happened() {
    let server = busy().await;
    let text = scrape(&server).await;
    for (sample, expected) in [
        ("ejecta_experiments{state=\"running\"}", 1.0),
        ("ejecta_experiments{state=\"completed\"}", 0.0),
        ("ejecta_jobs{state=\"queued\"}", 2.0),
        ("ejecta_jobs{state=\"leased\"}", 2.0),
        ("ejecta_jobs_given_up", 1.0),
        ("ejecta_results_total{verdict=\"test-pass\"}", 1.0),
        ("ejecta_results_total{verdict=\"regressed\"}", 0.0),
        ("ejecta_oldest_queued_seconds", 40.0),
        ("ejecta_oldest_lease_seconds", 30.0),
        ("ejecta_agents{state=\"working\"}", 1.0),
        ("ejecta_agents{state=\"silent\"}", 0.0),
        ("ejecta_leased_jobs{mode=\"check-only\",scope=\"lib\"}", 1.0),
        ("ejecta_leased_jobs{mode=\"check-only\",scope=\"all\"}", 1.0),
        ("ejecta_job_events_total{event=\"granted\"}", 4.0),
        ("ejecta_job_events_total{event=\"finished\"}", 1.0),
        ("ejecta_job_events_total{event=\"given-up\"}", 1.0),
        ("ejecta_job_queue_seconds_bucket{le=\"3\"}", 0.0),
        ("ejecta_job_queue_seconds_bucket{le=\"10\"}", 4.0),
        ("ejecta_job_seconds_sum", 30.0),
        ("ejecta_job_seconds_count", 1.0),
        ("ejecta_store_call_seconds_count{verb=\"submit\"}", 1.0),
        ("ejecta_registry_requests_total{of=\"index\"}", 7.0),
        ("ejecta_registry_cache_hits_total{of=\"crate\"}", 30.0),
        (
            "ejecta_http_requests_total{method=\"POST\",route=\"/api/v1/claim\",status=\"200\"}",
            1.0,
        ),
        (
            "ejecta_http_requests_total{method=\"other\",route=\"/api/v1/claim\",status=\"405\"}",
            1.0,
        ),
        (
            "ejecta_http_requests_total{method=\"GET\",route=\"/api/v1/experiments/{name}/config\",status=\"200\"}",
            1.0,
        ),
        (
            "ejecta_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"}",
            1.0,
        ),
    ] {
        assert_eq!(value(&text, sample), Some(expected), "{sample}\n{text}");
    }
}

#[tokio::test]
async fn silence_and_failures_are_seen() {
    let server = busy().await;
    server.now.store(LEASE + 41, Ordering::SeqCst);
    let text = scrape(&server).await;
    assert_eq!(value(&text, "ejecta_agents{state=\"silent\"}"), Some(1.0));
    server.store.close().await;
    let headers = format!(
        "authorization: Bearer {}\r\n",
        token(77, "read", None, None).1
    );
    assert_eq!(
        server.send("GET", "/metrics", &headers, "").await.status,
        503
    );
}

#[tokio::test]
async fn nothing_that_comes_from_outside_is_a_label() {
    let server = busy().await;
    for n in 0..50 {
        let path = format!("/api/v1/experiments/x{n}/config?{n}");
        server.get(&path).await;
        server.send("GET", &format!("/{n}"), "", "").await;
        server.send(&format!("M{n}"), "/healthz", "", "").await;
        server.post(&format!("c{n}"), &n).await;
    }
    // The first scrape is the first request of its route.
    scrape(&server).await;
    let before = scrape(&server).await;
    for n in 50..99 {
        let path = format!("/api/v1/experiments/x{n}/config?{n}");
        server.get(&path).await;
        server.send("GET", &format!("/{n}"), "", "").await;
        server.send(&format!("M{n}"), "/healthz", "", "").await;
        server.post(&format!("c{n}"), &n).await;
    }
    let after = scrape(&server).await;
    assert_eq!(before.lines().count(), after.lines().count(), "{after}");
    for name in ["tester", "c0", "x1", "M1"] {
        assert!(!after.contains(&format!("\"{name}\"")), "{name}: {after}");
    }
}

/// What reads the text as Prometheus' own Python client does, and says so line by line.
const PARSER: &str = "
import sys
from prometheus_client.parser import text_string_to_metric_families as parse
families = list(parse(sys.stdin.read()))
names = [family.name for family in families]
assert len(names) == len(set(names)), names
for family in families:
    assert family.type in ('gauge', 'counter', 'histogram'), family
    assert family.documentation, family
    samples = [(s.name, tuple(sorted(s.labels.items()))) for s in family.samples]
    assert len(samples) == len(set(samples)), samples
    for sample in family.samples:
        assert sample.value >= 0, sample
        allowed = {family.name, family.name + '_total', family.name + '_bucket',
                   family.name + '_sum', family.name + '_count'}
        assert sample.name in allowed, sample
print(len(families), sum(len(family.samples) for family in families))
";

#[tokio::test]
async fn a_real_parser_reads_them() {
    let Ok(python) = std::env::var("EJECTA_PROMETHEUS_PYTHON") else {
        assert!(
            std::env::var_os("EJECTA_REQUIRE_PROMETHEUS").is_none(),
            "EJECTA_PROMETHEUS_PYTHON must name a Python that has `prometheus_client`"
        );
        eprintln!("SKIPPED: EJECTA_PROMETHEUS_PYTHON names no Python that has `prometheus_client`");
        return;
    };
    let server = busy().await;
    let text = scrape(&server).await;
    let mut parser = Command::new(python)
        .args(["-c", PARSER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = parser.stdin.take().expect("piped");
    std::io::Write::write_all(&mut stdin, text.as_bytes()).expect("written");
    drop(stdin);
    let read = parser.wait_with_output().expect("ends");
    assert!(read.status.success(), "{text}");
    let said = String::from_utf8(read.stdout).expect("UTF-8");
    let families: u32 = said
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    assert_eq!(
        families as usize,
        text.matches("# TYPE ").count(),
        "all that are written are read"
    );
}
