//! Logs that no result names are forgotten, and no others.

use ejecta_core::mode::Scope;
use ejecta_core::protocol::LogFile;
use ejecta_server::blobs::Blobs;
use ejecta_server::store::{SqliteStore, Store as _, Submitted};
use ejecta_server::{orphans, packs};

use crate::fixtures::{at, claim, create, experiment, name, passing, plan};

#[tokio::test]
async fn only_the_logs_of_results_are_left() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("db");
    let store = SqliteStore::open(&file).await.expect("a store");
    let blobs = Blobs::directory(dir.path()).expect("usable");
    let e = name("e");
    create(&store, &experiment("e", Scope::Lib), &plan(2)).await;
    let logs = [LogFile {
        name: "1-candidate".to_owned(),
        text: "text\n".to_owned(),
    }];
    // A server wrote logs of the first grants, and died; the second ones had results.
    let first = claim(&store, 0, 2).await.granted;
    let second = claim(&store, 1000, 2).await.granted;
    for job in first.iter().chain(&second) {
        let put = packs::put(&blobs, &e, &job.job(), &job.lease, &logs).await;
        put.expect("kept");
    }
    for job in &second {
        let submitted = store.submit(&job.lease, &passing(), at(1001)).await;
        assert!(matches!(submitted, Ok(Submitted::Committed(_))));
    }
    for expected in [2, 0] {
        let forgotten = orphans::forget(&store, &blobs, &e).await;
        assert_eq!(forgotten.expect("looked through"), expected);
    }
    for (of, is_there) in [(&first, false), (&second, true)] {
        for job in of {
            let logs = packs::get(&blobs, &e, &job.lease).await;
            assert_eq!(logs.expect("ok").is_some(), is_there, "{}", job.lease);
        }
    }
}
