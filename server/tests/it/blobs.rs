//! What every place for objects promises: a directory, and a server that speaks S3.

use ejecta_core::job::{JobId, LeaseId};
use ejecta_core::mode::Scope;
use ejecta_core::protocol::LogFile;
use ejecta_server::blobs::{Blobs, S3};
use ejecta_server::logs::Logs;
use ejecta_server::packs;
use ejecta_server::store::ErrorClass;
use ejecta_test_support::S3Server;
use secrecy::SecretString;

use crate::fixtures::{entry, name};

/// Where the logs of the winner are.
const KEY: &str = "e/wi/winner.tar.zst";

fn log(name: &str, text: &str) -> LogFile {
    LogFile {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn lease(id: &str) -> LeaseId {
    LeaseId(id.to_owned())
}

async fn keeps_its_promises(blobs: &Blobs) {
    assert_eq!(blobs.get("reports/e/index.html").await.expect("ok"), None);
    for bytes in [&b"one"[..], b"two, and longer", b""] {
        blobs
            .put("reports/e/index.html", bytes.to_vec())
            .await
            .expect("kept");
        let read = blobs.get("reports/e/index.html").await.expect("ok");
        assert_eq!(read.as_deref(), Some(bytes));
    }
    for _ in 0..2 {
        blobs
            .delete("reports/e/index.html")
            .await
            .expect("forgotten");
        assert_eq!(blobs.get("reports/e/index.html").await.expect("ok"), None);
    }
    for bad in ["../x", "/x", "a//b", "a/../b", "a b", "ä", "", "a/"] {
        let refused = blobs.put(bad, Vec::new()).await.expect_err("unsafe");
        assert_eq!(refused.class(), ErrorClass::Permanent, "{bad}");
    }

    // Two leases of one job: neither writes over the other's.
    let job = JobId {
        krate: entry("c-d").krate.id(),
        tier: Scope::Lib,
    };
    let e = name("e");
    let long = "a line of cargo's\n".repeat(20_000);
    for (who, text) in [
        ("winner", long.as_str()),
        ("stale", "\u{1b}]0;owned\u{7}\n"),
    ] {
        let logs = [log("0-prepare", "ready\n"), log("1-candidate", text)];
        let put = packs::put(blobs, &e, &job, &lease(who), &logs).await;
        put.expect("kept");
    }
    let read = async |who: &str, log: &str| {
        let logs = packs::get(blobs, &e, &lease(who)).await.expect("ok")?;
        logs.get(&format!("logs/c-d-1.0.0/lib-{log}.log")).cloned()
    };
    assert_eq!(
        read("winner", "1-candidate").await.as_deref(),
        Some(long.as_str())
    );
    assert_eq!(
        read("stale", "1-candidate").await.as_deref(),
        Some("\\u{1b}]0;owned\\u{7}\n")
    );
    assert_eq!(read("nobody", "1-candidate").await, None);
    assert_eq!(read("winner", "2-baseline").await, None);
    let key = packs::key(&e, &lease("winner")).expect("safe");
    assert_eq!(key, KEY);
    let packed = blobs.get(&key).await.expect("ok").expect("kept");
    assert!(packed.len() < long.len() / 100, "{}", packed.len());
    // What a lease wrote that has lost its job is forgotten, and nothing else is.
    let logs = [log("0-prepare", ""), log("1-candidate", "")];
    let all = Logs::from(blobs.clone());
    for _ in 0..2 {
        let forgotten = all.forget(&e, &lease("stale")).await;
        forgotten.expect("forgotten, once or twice");
    }
    assert_eq!(read("stale", "1-candidate").await, None);
    // The same where a whole experiment is looked through; there may be other things.
    let another = name("e2");
    for of in [&e, &another] {
        let kept = packs::put(blobs, of, &job, &lease("stale"), &logs).await;
        kept.expect("kept");
    }
    blobs.put("e/a/b/stale", Vec::new()).await.expect("kept");
    for expected in [1, 0] {
        let forgotten = packs::forget_orphans(blobs, &e, |lease| lease == "stale").await;
        assert_eq!(forgotten.expect("listed"), expected);
    }
    assert_eq!(read("stale", "1-candidate").await, None);
    assert!(blobs.get("e/a/b/stale").await.expect("ok").is_some());
    let of_another = packs::get(blobs, &another, &lease("stale")).await;
    assert!(of_another.expect("ok").is_some());
    let of_none = packs::forget_orphans(blobs, &name("e3"), |_| true).await;
    assert_eq!(of_none.expect("ok"), 0);
    assert_eq!(
        read("winner", "0-prepare").await.as_deref(),
        Some("ready\n")
    );
    let of_odd_name = [log("../1", "")];
    let refused = packs::put(blobs, &e, &job, &lease("x"), &of_odd_name).await;
    let refused = refused.expect_err("unsafe");
    assert_eq!(refused.class(), ErrorClass::Permanent, "{refused}");
}

#[tokio::test]
async fn a_directory_keeps_objects() {
    let dir = tempfile::tempdir().expect("a directory");
    keeps_its_promises(&Blobs::directory(dir.path()).expect("usable")).await;
    assert!(dir.path().join(KEY).is_file(), "where its key says");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_s3_server_keeps_objects() {
    let started = tokio::task::spawn_blocking(S3Server::start_or_skip).await;
    let Some(server) = started.expect("no panic") else {
        return;
    };
    let settings = |bucket: &str, endpoint: String| S3 {
        endpoint,
        region: "us-east-1".to_owned(),
        bucket: bucket.to_owned(),
        access_key: "test".to_owned(),
        secret_key: SecretString::from("sesame"),
    };
    let s3 = settings("bucket", server.endpoint());
    assert!(!format!("{s3:?}").contains("sesame"));
    keeps_its_promises(&Blobs::s3(&s3).expect("usable")).await;
    drop(server);
    // Gone: what was to be kept was not, and may be later.
    let gone = Blobs::s3(&s3).expect("usable");
    let error = gone.put("x", b"x".to_vec()).await.expect_err("no server");
    assert_eq!(error.class(), ErrorClass::Transient, "{error}");
    assert!(!error.to_string().contains("sesame"), "{error}");
}
