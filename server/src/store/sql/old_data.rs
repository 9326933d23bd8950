//! A database as the first migration left it, with rows, for tests of the newer ones.

use ejecta_core::compare::Verdict;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::LeaseId;
use ejecta_core::lifecycle::State;
use ejecta_core::mode::Scope;
use jiff::Timestamp;

use super::{Backend, Connection};
use crate::bot::answer::About;
use crate::bot::follows::{Followed, Follows as _};
use crate::bot::mailbox::{Inbox as _, Outbox, Received};
use crate::bot::model::{DeliveryId, Incoming, Thread, User};
use crate::store::{Claim, JobState, Store as _, Submitted, all_results};

/// An experiment as version 1 wrote it.
const EXPERIMENT: &str = r#"{"name":"old","selection":"demo","seed":7,"config":{"baseline":"stable",
"candidate":"nightly","mode":"check-only","scope":"lib","lockfile":"auto","baseline_runs":"on-failure",
"cap_lints":"warn","confirmations":1,"limits":{"memory_bytes":4294967296,"pids":512,"cpu_millis":2000,
"wall_seconds":900,"no_progress_seconds":60,"output_bytes":33554432,"output_lines":300000,
"disk_bytes":8589934592,"disk_inodes":500000,"tmp_bytes":1073741824,"open_files":4096}},
"created":"2026-06-01T00:00:00Z"}"#;

/// A record as version 1 wrote it.
const RECORD: &str = r#"{"schema":1,"unprepared":{"kind":"broken","message":"no manifest"},
"lockfiles":[],"runs":[],"preparation":{"wall_ms":1,"cpu_ms":null,"peak_memory_bytes":null,
"disk_bytes":null,"disk_inodes":null,"output_bytes":0,"output_lines":null}}"#;

fn entry(n: i64) -> String {
    let checksum = "a".repeat(64);
    format!(
        r#"{{"krate":{{"name":"c{n}","version":"1.0.0","source":{{"kind":"registry","checksum":"{checksum}"}}}},"skip":null,"options":{{"skip_tests":false,"quiet":false}}}}"#
    )
}

/// Fills tables of the first migration: a job in each state.
pub(super) async fn fill(db: &mut Connection) {
    sqlx::query("INSERT INTO experiments (name, body) VALUES ('old', $1)")
        .bind(EXPERIMENT)
        .execute(&mut *db)
        .await
        .expect("an experiment");
    for n in 0..4 {
        sqlx::query(
            "INSERT INTO plan (experiment_id, position, crate_id, runs, entry)
             SELECT id, $1, $2, 1, $3 FROM experiments",
        )
        .bind(n)
        .bind(format!("c{n}-1.0.0"))
        .bind(entry(n))
        .execute(&mut *db)
        .await
        .expect("an entry");
    }
    for job in [
        "(experiment_id, tier, position) SELECT id, 0, 0 FROM experiments",
        "(experiment_id, tier, position, state, attempts, lease, lease_until, agent)
            SELECT id, 0, 1, 'leased', 1, 'held', 2000000000000, 'local' FROM experiments",
        "(experiment_id, tier, position, state, attempts, lease, agent)
            SELECT id, 0, 2, 'finished', 1, 'done', 'local' FROM experiments",
        "(experiment_id, tier, position, state, attempts, error)
            SELECT id, 0, 3, 'error', 3, 'no disk' FROM experiments",
    ] {
        let insert = sqlx::AssertSqlSafe(format!("INSERT INTO jobs {job}"));
        sqlx::query(insert).execute(&mut *db).await.expect("a job");
    }
    sqlx::query(
        "INSERT INTO results (job_id, record, finished)
         SELECT id, $1, 1800000000000 FROM jobs WHERE state = 'finished'",
    )
    .bind(RECORD)
    .execute(db)
    .await
    .expect("a result");
}

/// Expects all of it in a store of the newest schema, and that the store works.
pub(super) async fn check(store: &Backend) {
    let name = ExperimentName::new("old").expect("valid");
    let filed = store.experiment(&name).await.expect("read");
    let filed = filed.expect("kept");
    let created: Timestamp = "2026-06-01T00:00:00Z".parse().expect("a time");
    assert_eq!((filed.state, filed.since), (State::Running, created));
    let counts = store.counts(&name).await.expect("counts");
    let lib = &counts.tiers[0];
    assert_eq!((lib.queued, lib.leased), (1, 1));
    assert_eq!((lib.finished, lib.errors), (1, 1));
    let verdicts = store.verdict_counts(&name).await.expect("counts");
    let lib: Vec<_> = verdicts[&Scope::Lib].iter().collect();
    assert_eq!(lib, [(&Verdict::Error, &1), (&Verdict::Broken, &1)]);
    let results = all_results(store, &name).await.expect("results");
    let JobState::Finished { record } = &results[2].tiers[0].state else {
        panic!("{:?}", results[2]);
    };
    let why = record.unprepared.as_ref().expect("broken");
    assert_eq!(why.message(), "no manifest");
    let news = store.news(&name, 0, 9).await.expect("news");
    assert_eq!(news.len(), 1);

    let now = Timestamp::from_second(1_900_000_000).expect("a time");
    let held = LeaseId("held".to_owned());
    let done = store.submit(&held, record, now).await.expect("ok");
    assert!(matches!(done, Submitted::Committed(_)));
    let again = LeaseId("done".to_owned());
    let again = store.submit(&again, record, now).await.expect("ok");
    assert_eq!(again, Submitted::Repeated);
    let claimed = store
        .claim(Claim {
            agent: "local".to_owned(),
            capabilities: "memory-mib=8192".parse().expect("valid"),
            leases: vec![LeaseId("new".to_owned())],
            now,
            until: now,
            expired: now,
            alive_since: now,
            without: Vec::new(),
        })
        .await
        .expect("ok");
    assert_eq!((claimed.granted.len(), claimed.unfinished), (1, 1));
}

/// Fills tables of the second migration: what was delivered, and an experiment.
pub(super) async fn fill_second(db: &mut Connection) {
    for insert in [
        "INSERT INTO deliveries (id, seen) VALUES ('delivered', 1800000000000)",
        "INSERT INTO outbox (key, kind, body, due) VALUES ('k', 'comment', 'null', 0)",
    ] {
        sqlx::query(insert).execute(&mut *db).await.expect("a row");
    }
    sqlx::query("INSERT INTO experiments (name, body) VALUES ('old', $1)")
        .bind(EXPERIMENT)
        .execute(db)
        .await
        .expect("an experiment");
}

/// Expects that a delivery stays known, and that the bot's memory works over the old experiment.
pub(super) async fn check_second(store: &Backend) {
    let now = Timestamp::from_second(1_900_000_000).expect("a time");
    let thread = Thread {
        repo: "rust-lang/rust".parse().expect("a repository"),
        number: 1,
    };
    let incoming = |comment| Incoming {
        thread: thread.clone(),
        pull_request: true,
        comment,
        author: User {
            id: 1,
            login: "alice".to_owned(),
        },
        body: "@ejecta ping".to_owned(),
    };
    let receive = async |id: &str, comment| {
        let delivery = DeliveryId(id.to_owned());
        let received = store.receive(&delivery, &incoming(comment), now).await;
        received.expect("ok")
    };
    assert_eq!(receive("delivered", 1).await, Received::Repeated);
    assert_eq!(receive("another", 1).await, Received::New);
    assert_eq!(Outbox::next_due(store).await.expect("ok"), None);
    let followed = Followed {
        name: ExperimentName::new("old").expect("valid"),
        thread: thread.clone(),
        about: About {
            baseline: "stable".to_owned(),
            candidate: "nightly".to_owned(),
            mode: "check-only".to_owned(),
            scope: "lib".to_owned(),
            crates: "demo".to_owned(),
            found: None,
        },
    };
    store.follow(&followed).await.expect("ok");
    let untold = store.untold().await.expect("ok");
    assert_eq!(untold.len(), 1);
    assert_eq!(untold[0].followed, followed);
    assert_eq!(
        store.latest(&thread).await.expect("ok"),
        Some(followed.name)
    );
}
