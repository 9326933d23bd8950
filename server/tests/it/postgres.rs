//! The PostgreSQL backend keeps the contract, also with two coordinators on one database.

use std::collections::HashSet;
use std::sync::Arc;

use ejecta_core::mode::Scope;
use ejecta_server::store::{ErrorClass, PostgresStore, Store, Submitted};
use ejecta_test_support::Postgres;
use secrecy::SecretString;

use crate::contract::contract_of;
use crate::fixtures::{at, claim, create, experiment, name, passing, plan};

pub async fn connect(url: &str) -> PostgresStore {
    PostgresStore::open(&SecretString::from(url), 8)
        .await
        .expect("opens")
}

pub async fn database() -> Option<String> {
    let made = tokio::task::spawn_blocking(Postgres::database_or_skip).await;
    made.expect("no panic")
}

async fn open() -> Option<(Arc<dyn Store>, ())> {
    let url = database().await?;
    Some((Arc::new(connect(&url).await), ()))
}

contract_of!(open);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinators_that_start_together_make_one_schema() {
    let Some(url) = database().await else { return };
    let starting: Vec<_> = (0..4)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { connect(&url).await })
        })
        .collect();
    let mut stores = Vec::new();
    for store in starting {
        stores.push(store.await.expect("no panic"));
    }
    create(&stores[0], &experiment("e", Scope::Lib), &plan(1)).await;
    for store in &stores {
        assert_eq!(store.counts(&name("e")).await.expect("ok").total(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_coordinators_share_one_queue() {
    let Some(url) = database().await else { return };
    let stores = [connect(&url).await, connect(&url).await].map(Arc::new);
    create(&*stores[0], &experiment("e", Scope::All), &plan(100)).await;
    let agents: Vec<_> = (0..8)
        .map(|agent| {
            let store = Arc::clone(&stores[agent % 2]);
            let other = Arc::clone(&stores[(agent + 1) % 2]);
            tokio::spawn(async move {
                let mut jobs = Vec::new();
                loop {
                    let claimed = claim(&*store, 0, 5).await;
                    if claimed.granted.is_empty() {
                        return jobs;
                    }
                    for job in claimed.granted {
                        // Granted by one coordinator, handed in at the other.
                        let done = other.submit(&job.lease, &passing(), at(1)).await;
                        assert!(matches!(done, Ok(Submitted::Committed(_))), "{done:?}");
                        jobs.push(job.job());
                    }
                }
            })
        })
        .collect();
    let mut jobs = Vec::new();
    for agent in agents {
        jobs.extend(agent.await.expect("no panic"));
    }
    assert_eq!(jobs.len(), 200);
    assert_eq!(jobs.into_iter().collect::<HashSet<_>>().len(), 200);
    for store in stores {
        let counts = store.counts(&name("e")).await.expect("ok");
        assert_eq!((counts.finished(), counts.unfinished()), (200, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_is_an_error_of_the_moment() {
    let started = tokio::task::spawn_blocking(Postgres::start_or_skip).await;
    let Some(server) = started.expect("no panic") else {
        return;
    };
    let server = Arc::new(server);
    let store = {
        let server = Arc::clone(&server);
        let url = tokio::task::spawn_blocking(move || server.database()).await;
        connect(&url.expect("made")).await
    };
    create(&store, &experiment("e", Scope::Lib), &plan(3)).await;
    let held = claim(&store, 0, 2).await;
    let lease = |n: usize| &held.granted[n].lease;
    store.submit(lease(0), &passing(), at(1)).await.expect("ok");
    let restarting = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let _server = restarting.await.expect("restarted");
    // Whatever a call meets meanwhile, it is worth another try, and what was answered is there.
    let mut tries = 0;
    let submitted = loop {
        match store.submit(lease(1), &passing(), at(2)).await {
            Ok(submitted) => break submitted,
            Err(error) => {
                assert_eq!(error.class(), ErrorClass::Transient, "{error}");
                tries += 1;
                assert!(tries < 100, "it does not come back: {error}");
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert!(
        matches!(submitted, Submitted::Committed(_)),
        "{submitted:?}"
    );
    let again = store.submit(lease(0), &passing(), at(2)).await;
    assert_eq!(again.expect("ok"), Submitted::Repeated);
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_told_without_the_password() {
    let Some(url) = database().await else { return };
    let (server, _) = url.rsplit_once('/').expect("an address");
    let table = [
        ("no address at all", ErrorClass::Permanent),
        (&format!("{server}/nothing"), ErrorClass::Permanent),
        ("postgres://u:sesame@127.0.0.1:1/d", ErrorClass::Transient),
    ];
    for (url, class) in table {
        let opened = PostgresStore::open(&SecretString::from(url), 2).await;
        let error = opened.expect_err("no database");
        assert_eq!(error.class(), class, "{url}: {error}");
        assert!(!error.to_string().contains("sesame"), "{error}");
        assert!(error.hint().is_some(), "{error}");
    }
}
