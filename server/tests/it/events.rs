//! What followers of a coordinator hear.

use std::sync::atomic::Ordering;

use ejecta_core::compare::Verdict;
use ejecta_core::protocol::ReleaseRequest;
use ejecta_server::Event;
use tokio::sync::broadcast::Receiver;

use crate::client::{Server, submission};
use crate::fixtures::LEASE;

/// Everything told so far, as a program would read it, without the counts.
fn told(events: &mut Receiver<Event>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Ok(event) = events.try_recv() {
        let mut value = serde_json::to_value(&event).expect("JSON");
        let fields = value.as_object_mut().expect("an object");
        fields.remove("counts");
        fields.remove("experiment");
        lines.push(value.to_string());
    }
    lines
}

#[tokio::test]
async fn a_job_is_followed_from_grant_to_result() {
    let server = Server::start().await;
    let mut events = server.coordinator.subscribe();
    let grant = server.next().await;
    for _ in 0..2 {
        server.post("submit", &submission(&grant, "fine\n")).await;
    }
    let Ok(Event::JobGranted { agent, attempt, .. }) = events.try_recv() else {
        panic!("granted first");
    };
    assert_eq!((agent.as_str(), attempt), ("tester", 1));
    let Ok(Event::JobFinished {
        verdict,
        covered,
        counts,
        job,
        ..
    }) = events.try_recv()
    else {
        panic!("then finished");
    };
    assert_eq!((verdict, covered), (Verdict::TestPass, true));
    assert_eq!((counts.finished(), counts.unfinished()), (1, 5));
    assert_eq!(job.to_string(), "c0-1.0.0 (lib)");
    assert!(events.try_recv().is_err(), "a repeat is no event");
}

#[tokio::test]
async fn setbacks_are_told() {
    let server = Server::start().await;
    let mut events = server.coordinator.subscribe();
    let held = server.claim(6).await.grants;
    told(&mut events);
    for (grant, transient, unstarted) in [
        (&held[0], true, false),
        (&held[1], false, false),
        (&held[2], true, true),
    ] {
        let release = ReleaseRequest {
            lease: grant.lease.clone(),
            error: "no disk".to_owned(),
            transient,
            unstarted,
        };
        assert_eq!(server.post("release", &release).await.status, 204);
    }
    let line = |krate: &str, error: &str, given_up: bool| {
        format!(
            r#"{{"agent":"tester","attempt":1,"error":{error},"event":"job-released","given_up":{given_up},"job":{{"krate":"{krate}-1.0.0","tier":"lib"}}}}"#
        )
    };
    assert_eq!(
        told(&mut events),
        [
            line("c0", "\"no disk\"", false),
            line("c1", "\"no disk\"", true),
            line("c2", "null", false)
        ]
    );
}

#[tokio::test]
async fn lost_leases_are_told_before_their_jobs_are_granted_anew() {
    let server = Server::start().await;
    server.claim(6).await;
    let mut events = server.coordinator.subscribe();
    server.now.store(LEASE, Ordering::SeqCst);
    server.next().await;
    let told = told(&mut events);
    let lost = |krate: &str, tier: &str| {
        format!(
            r#"{{"agent":"tester","attempt":1,"event":"job-lost","given_up":false,"job":{{"krate":"{krate}-1.0.0","tier":"{tier}"}}}}"#
        )
    };
    let mut expected: Vec<String> = Vec::new();
    for tier in ["lib", "all"] {
        expected.extend(["c0", "c1", "c2"].map(|krate| lost(krate, tier)));
    }
    expected.push(
        r#"{"agent":"tester","attempt":2,"event":"job-granted","job":{"krate":"c0-1.0.0","tier":"lib"}}"#
            .to_owned(),
    );
    assert_eq!(told, expected);
}
