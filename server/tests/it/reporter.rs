//! Reports are written once, whoever writes them, and whoever dies meanwhile.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ejecta_core::lifecycle::State;
use ejecta_core::mode::Scope;
use ejecta_server::reporter::{ReportError, ReportMaker, Reporter};
use ejecta_server::store::{Filed, SqliteStore, Store};
use serde_json::json;
use tempfile::TempDir;

use crate::fixtures::{at, create, experiment, name, skipped};

/// Fails as often as it is told to, then writes.
#[derive(Default)]
struct Script {
    failures: AtomicU32,
    permanent: bool,
    made: Mutex<Vec<String>>,
}

#[async_trait]
impl ReportMaker for Script {
    async fn make(&self, filed: &Filed) -> Result<String, ReportError> {
        assert_eq!(filed.state, State::NeedsReport, "as it was found");
        let failed = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if failed.is_ok() {
            return Err(ReportError {
                message: "write a file: the disk is full".to_owned(),
                transient: !self.permanent,
            });
        }
        let name = filed.experiment.name.to_string();
        self.made.lock().expect("whole").push(name.clone());
        Ok(format!("https://host/{name}/"))
    }
}

struct Place {
    store: Arc<SqliteStore>,
    now: Arc<AtomicI64>,
    _dir: TempDir,
}

impl Place {
    /// A store with an experiment whose jobs have all ended.
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(&dir.path().join("ejecta.db")).await;
        let store = Arc::new(store.expect("opens"));
        create(&*store, &experiment("e", Scope::Lib), &[skipped("a")]).await;
        store.expire(at(0)).await.expect("ok");
        let place = Self {
            store,
            now: Arc::default(),
            _dir: dir,
        };
        assert_eq!(place.state().await, State::NeedsReport);
        place
    }

    async fn state(&self) -> State {
        let filed = self.store.experiment(&name("e")).await.expect("ok");
        filed.expect("kept").state
    }

    async fn fact(&self, key: &str) -> Option<serde_json::Value> {
        self.store.fact(&name("e"), key).await.expect("ok")
    }

    fn reporter(&self, who: &str, script: &Arc<Script>) -> Reporter {
        let now = Arc::clone(&self.now);
        Reporter::new(
            self.store.clone(),
            Arc::clone(script) as Arc<dyn ReportMaker>,
            Arc::new(move || at(now.load(Ordering::SeqCst))),
            who.to_owned(),
        )
    }
}

#[tokio::test]
async fn a_report_is_written_once() {
    let place = Place::new().await;
    let script = Arc::new(Script::default());
    let (one, two) = (
        place.reporter("one", &script),
        place.reporter("two", &script),
    );
    let (first, second) = tokio::join!(one.work(), two.work());
    assert_eq!(first.expect("ok") + second.expect("ok"), 1);
    assert_eq!(*script.made.lock().expect("whole"), ["e"]);
    assert_eq!(place.state().await, State::Completed);
    assert_eq!(place.fact("report").await, Some(json!("https://host/e/")));
    assert_eq!(place.fact("finished").await, Some(json!(at(0))));
    assert_eq!(one.work().await.expect("ok"), 0, "nothing is left to do");
}

#[tokio::test]
async fn what_may_pass_is_tried_again_but_not_for_ever() {
    let place = Place::new().await;
    let script = Arc::new(Script {
        failures: AtomicU32::new(2),
        ..Script::default()
    });
    let reporter = place.reporter("one", &script);
    for state in [State::NeedsReport, State::NeedsReport, State::Completed] {
        reporter.work().await.expect("ok");
        assert_eq!(place.state().await, state);
    }
    assert_eq!(
        place.fact("problem").await,
        Some(json!(null)),
        "it has passed"
    );

    for (failures, permanent, tries) in [(99, false, 5), (99, true, 1)] {
        let place = Place::new().await;
        let script = Arc::new(Script {
            failures: AtomicU32::new(failures),
            permanent,
            ..Script::default()
        });
        let reporter = place.reporter("one", &script);
        let mut tried = 0;
        for _ in 0..9 {
            tried += reporter.work().await.expect("ok");
        }
        assert_eq!((tried, place.state().await), (tries, State::Failed));
        let problem = "failed to write the report: write a file: the disk is full";
        assert_eq!(place.fact("problem").await, Some(json!(problem)));
    }
}

/// Never comes to an end.
struct Hangs;

#[async_trait]
impl ReportMaker for Hangs {
    async fn make(&self, _: &Filed) -> Result<String, ReportError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_writer_that_stops_lets_its_report_go() {
    let place = Place::new().await;
    let now = Arc::clone(&place.now);
    let stopping = Reporter::new(
        place.store.clone(),
        Arc::new(Hangs),
        Arc::new(move || at(now.load(Ordering::SeqCst))),
        "stopping".to_owned(),
    );
    let script = Arc::new(Script::default());
    let other = place.reporter("other", &script);
    {
        let mut work = std::pin::pin!(stopping.work());
        while place.fact("reporter").await.is_none() {
            tokio::select! {
                _ = &mut work => panic!("it hangs"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    other.let_go().await.expect("ok");
    assert_eq!(place.state().await, State::GeneratingReport, "another's");
    stopping.let_go().await.expect("ok");
    assert_eq!(place.state().await, State::NeedsReport);
    assert_eq!(other.work().await.expect("ok"), 1);
}

#[tokio::test]
async fn the_report_of_a_dead_writer_is_anybodys() {
    let place = Place::new().await;
    let now = Arc::clone(&place.now);
    let dying = Reporter::new(
        place.store.clone(),
        Arc::new(Hangs),
        Arc::new(move || at(now.load(Ordering::SeqCst))),
        "dying".to_owned(),
    );
    let task = tokio::spawn(async move { dying.work().await });
    while place.fact("reporter").await.is_none() {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert_eq!(place.state().await, State::GeneratingReport);
    let script = Arc::new(Script::default());
    let other = place.reporter("other", &script);
    place.now.store(59, Ordering::SeqCst);
    assert_eq!(other.work().await.expect("ok"), 0, "it may be alive");
    place.now.store(60, Ordering::SeqCst);
    assert_eq!(other.work().await.expect("ok"), 1);
    assert_eq!(place.state().await, State::Completed);
}
