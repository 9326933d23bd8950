//! The protocol, call by call, over a real listener.

use std::sync::atomic::Ordering;

use ejecta_core::experiment::Config;
use ejecta_core::job::LeaseId;
use ejecta_core::mode::Scope;
use ejecta_core::protocol::{HeartbeatRequest, HeartbeatResponse, ReleaseRequest, SubmitResponse};
use ejecta_server::MAX_SLOTS;
use ejecta_server::store::{JobState, Store, all_results};

use crate::client::{Server, submission};
use crate::fixtures::{LEASE, experiment, name, passing};

#[tokio::test]
async fn a_job_from_claim_to_result() {
    let server = Server::start().await;
    let claimed = server.claim(2).await;
    assert_eq!(claimed.grants.len(), 2);
    assert_eq!((claimed.unfinished, claimed.retry_after_ms), (6, 123));
    let grant = &claimed.grants[0];
    assert_eq!((grant.attempt, grant.tier), (1, Scope::Lib));
    assert_eq!(grant.lease_ms, LEASE.unsigned_abs() * 1000);
    assert_eq!(grant.experiment, name("e"));

    let submitted = server.post("submit", &submission(grant, "fine\n")).await;
    assert_eq!(
        submitted.json::<SubmitResponse>(),
        SubmitResponse::Committed
    );
    let log = server.log("logs/c0-1.0.0/lib-1-candidate.log");
    assert_eq!(log.expect("written"), "fine\n");
    let results = all_results(&server.store, &name("e")).await.expect("ok");
    let record = Box::new(passing());
    assert_eq!(results[0].tiers[0].state, JobState::Finished { record });

    let again = server.post("submit", &submission(grant, "other\n")).await;
    assert_eq!(
        (again.status, again.json::<SubmitResponse>()),
        (200, SubmitResponse::Repeated)
    );
    let log = server.log("logs/c0-1.0.0/lib-1-candidate.log");
    assert_eq!(log.expect("still there"), "fine\n");
}

#[tokio::test]
async fn the_configuration_is_what_was_planned() {
    let server = Server::start().await;
    let answer = server.get("/api/v1/experiments/e/config").await;
    assert_eq!(answer.json::<Config>(), experiment("e", Scope::All).config);
    let answer = server.get("/api/v1/experiments/f/config").await;
    assert_eq!(
        (answer.status, answer.error()),
        (404, "there is no experiment `f`".to_owned())
    );
}

#[tokio::test]
async fn heartbeats_say_what_holds() {
    let server = Server::start().await;
    let grant = server.next().await;
    server.now.store(LEASE - 1, Ordering::SeqCst);
    let foreign = LeaseId("foreign".to_owned());
    let leases = vec![grant.lease.clone(), foreign.clone()];
    let progress = std::collections::BTreeMap::new();
    let request = HeartbeatRequest { leases, progress };
    let answer = server.post("heartbeat", &request).await;
    let beat: HeartbeatResponse = answer.json();
    assert_eq!(
        (beat.extended, beat.lost),
        (vec![grant.lease], vec![foreign])
    );
    server.now.store(2 * LEASE - 2, Ordering::SeqCst);
    assert!(server.claim(9).await.grants.iter().all(|g| g.attempt == 1));
    server.now.store(2 * LEASE - 1, Ordering::SeqCst);
    assert_eq!(server.next().await.attempt, 2);
}

#[tokio::test]
async fn a_released_job_is_granted_again_and_its_lease_is_lost() {
    let server = Server::start().await;
    let grant = server.next().await;
    let release = ReleaseRequest {
        lease: grant.lease.clone(),
        error: "the daemon went away".to_owned(),
        transient: true,
        unstarted: false,
    };
    let answer = server.post("release", &release).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    let answer = server.post("release", &release).await;
    assert_eq!(answer.status, 409);
    assert_eq!(
        answer.error(),
        format!("lease `{}` holds no job", grant.lease)
    );
    let attempts: Vec<u32> = server
        .claim(9)
        .await
        .grants
        .iter()
        .map(|g| g.attempt)
        .collect();
    assert_eq!(attempts, [1, 1, 2, 1, 1, 1]);
}

#[tokio::test]
async fn a_stale_lease_wins_nothing_and_spoils_no_log() {
    let server = Server::start().await;
    let stale = server.next().await;
    server.claim(5).await;
    server.now.store(LEASE, Ordering::SeqCst);
    let anew = server.claim(6).await.grants;
    let current = anew
        .iter()
        .find(|g| g.krate == stale.krate && g.tier == stale.tier);
    let current = current.expect("granted anew");
    assert_eq!(
        server
            .post("submit", &submission(&stale, "stale\n"))
            .await
            .status,
        409
    );
    assert!(server.log("logs/c0-1.0.0/lib-1-candidate.log").is_err());
    assert_eq!(
        server
            .post("submit", &submission(current, "right\n"))
            .await
            .status,
        200
    );
    assert_eq!(
        server
            .post("submit", &submission(&stale, "stale\n"))
            .await
            .status,
        409
    );
    let log = server.log("logs/c0-1.0.0/lib-1-candidate.log");
    assert_eq!(log.expect("written"), "right\n");
}

#[tokio::test]
async fn many_slots_are_granted_up_to_a_bound() {
    let server = Server::start().await;
    assert_eq!(server.claim(u32::MAX).await.grants.len(), 6);
    const { assert!(MAX_SLOTS >= 6) };
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_worth_another_try() {
    let server = Server::start().await;
    let grant = server.next().await;
    server.store.close().await;
    let answer = server.post("submit", &submission(&grant, "fine\n")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    assert_eq!(
        answer.error(),
        "the coordinator cannot do this now; try again"
    );
}

#[tokio::test]
async fn anyone_may_ask_whether_it_lives() {
    let server = Server::start().await;
    let answer = server.send("GET", "/healthz", "", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
}

#[tokio::test]
async fn it_shuts_down_when_told_to() {
    let server = Server::start().await;
    let address = server.address;
    // A connection that stays open and says nothing holds nobody up.
    let _idle = tokio::net::TcpStream::connect(address)
        .await
        .expect("connects");
    server.claim(1).await;
    server.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn results_survive_the_coordinator() {
    let server = Server::start().await;
    let grant = server.next().await;
    server.post("submit", &submission(&grant, "fine\n")).await;
    let dir = server.stop().await;
    let store = ejecta_server::store::SqliteStore::open(&dir.path().join("ejecta.db"))
        .await
        .expect("opens");
    assert_eq!(store.counts(&name("e")).await.expect("ok").finished(), 1);
}
