//! The SQLite backend keeps the contract, and survives its process.

use std::sync::Arc;

use ejecta_core::mode::Scope;
use ejecta_server::store::{Requeue, SqliteStore, Store, Submitted};
use tempfile::TempDir;

use crate::contract::contract_of;
use crate::fixtures::{LEASE, at, claim, create, experiment, granted, name, passing, plan};

async fn open() -> Option<(Arc<dyn Store>, TempDir)> {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(&dir.path().join("ejecta.db"))
        .await
        .expect("opens");
    Some((Arc::new(store), dir))
}

contract_of!(open);

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ejecta.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    create(&store, &experiment("e", Scope::Lib), &plan(3)).await;
    let held = claim(&store, 0, 2).await;
    let [done, cut_off] = [0, 1].map(|n| held.granted[n].lease.clone());
    store.submit(&done, &passing(), at(1)).await.expect("ok");

    // A crash closes nothing: what a second program finds on the disk at this moment is a copy
    // of the files, taken while the first one still has them open.
    let after = dir.path().join("after");
    std::fs::create_dir(&after).expect("made");
    for file in ["ejecta.db", "ejecta.db-wal"] {
        std::fs::copy(dir.path().join(file), after.join(file)).expect("copied");
    }
    drop(store);

    let store = SqliteStore::open(&after.join("ejecta.db"))
        .await
        .expect("opens again");
    let again = store.submit(&done, &passing(), at(2)).await.expect("ok");
    assert_eq!(again, Submitted::Repeated);
    assert_eq!(granted(&claim(&store, 1, 9).await), ["c2 lib"]);
    assert_eq!(
        store
            .requeue(&name("e"), Requeue::Leased, at(1))
            .await
            .expect("ok"),
        2
    );
    assert_eq!(granted(&claim(&store, 1, 9).await), ["c1 lib", "c2 lib"]);
    let dead = store.submit(&cut_off, &passing(), at(2)).await;
    assert_eq!(dead.expect("ok"), Submitted::Stale);
}

#[tokio::test]
async fn two_programs_can_hold_one_database() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ejecta.db");
    let (one, two) = (
        SqliteStore::open(&path).await,
        SqliteStore::open(&path).await,
    );
    let (one, two) = (one.expect("opens"), two.expect("opens"));
    create(&one, &experiment("e", Scope::Lib), &plan(2)).await;
    let (a, b) = tokio::join!(claim(&one, 0, 1), claim(&two, 0, 1));
    assert_eq!((a.granted.len(), b.granted.len()), (1, 1));
    assert_ne!(a.granted[0].krate, b.granted[0].krate);
    assert_eq!(claim(&two, LEASE, 9).await.lost.len(), 2);
}
