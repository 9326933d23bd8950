//! What the memory of the bot's experiments promises, on both stores: what there is to tell is what
//! was not told.

use ejecta_core::lifecycle::{Change, State};
use ejecta_core::mode::Scope;
use ejecta_server::bot::answer::About;
use ejecta_server::bot::follows::{Followed, Follows, Told, Untold};
use ejecta_server::bot::model::Thread;
use ejecta_server::store::{SqliteStore, Store};

use crate::fixtures::{at, claim, create, experiment, name, passing, plan};
use crate::postgres;

/// Makes a test of each promise on each store.
macro_rules! on_both {
    ($($promise:ident)+) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $promise() {
                    let dir = tempfile::tempdir().expect("a directory");
                    let store = super::SqliteStore::open(&dir.path().join("ejecta.db")).await;
                    super::$promise(&store.expect("opens")).await;
                }
            )+
        }
        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    if let Some(url) = super::postgres::database().await {
                        super::$promise(&super::postgres::connect(&url).await).await;
                    }
                }
            )+
        }
    };
}

on_both! {
    what_is_followed_is_told_until_its_end_was
    the_thread_stays_and_what_it_is_about_may_change
    the_newest_experiment_of_a_thread
    what_happens_again_is_told_again
    only_what_there_is_can_be_followed
}

fn thread(number: u64) -> Thread {
    Thread {
        repo: "rust-lang/rust".parse().expect("a repository"),
        number,
    }
}

fn followed(called: &str, number: u64, crates: &str) -> Followed {
    Followed {
        name: name(called),
        thread: thread(number),
        about: About {
            baseline: "stable".to_owned(),
            candidate: "beta".to_owned(),
            mode: "check-only".to_owned(),
            scope: "lib".to_owned(),
            crates: crates.to_owned(),
            found: None,
        },
    }
}

async fn made(store: &dyn Store, called: &str) {
    create(store, &experiment(called, Scope::Lib), &plan(1)).await;
}

async fn names(follows: &dyn Follows) -> Vec<String> {
    let untold = follows.untold().await.expect("ok").into_iter();
    untold.map(|one| one.followed.name.to_string()).collect()
}

async fn only(follows: &dyn Follows) -> Untold {
    let mut untold = follows.untold().await.expect("ok");
    assert_eq!(untold.len(), 1, "{untold:?}");
    untold.remove(0)
}

/// Says that the state of the only one is told.
async fn tell(follows: &dyn Follows) {
    let one = only(follows).await;
    let told = Told {
        state: Some((one.state, one.since)),
        early: one.told.early,
    };
    let name = &one.followed.name;
    follows.told(name, &told).await.expect("kept");
}

async fn what_is_followed_is_told_until_its_end_was(both: &(impl Store + Follows)) {
    made(both, "followed").await;
    made(both, "unknown").await;
    let one = followed("followed", 1, "demo");
    both.follow(&one).await.expect("kept");
    let untold = only(both).await;
    assert_eq!(untold.followed, one);
    assert_eq!(
        (untold.state, untold.told),
        (State::Queued, Told::default())
    );
    // Its progress is news as long as it goes on.
    tell(both).await;
    let told = only(both).await.told;
    assert_eq!(told.state.map(|(state, _)| state), Some(State::Queued));

    let change = Change::Abort;
    let moved = both.move_on(&one.name, None, change, at(5)).await;
    moved.expect("ok");
    let untold = only(both).await;
    assert_eq!((untold.state, untold.since), (State::Aborted, at(5)));
    tell(both).await;
    assert!(names(both).await.is_empty());
}

async fn the_thread_stays_and_what_it_is_about_may_change(both: &(impl Store + Follows)) {
    made(both, "e").await;
    both.follow(&followed("e", 1, "demo")).await.expect("kept");
    both.follow(&followed("e", 2, "full")).await.expect("kept");
    let now = both.followed(&name("e")).await.expect("ok");
    assert_eq!(now, Some(followed("e", 1, "full")));
    assert_eq!(both.followed(&name("other")).await.expect("ok"), None);
}

async fn the_newest_experiment_of_a_thread(both: &(impl Store + Follows)) {
    for (called, number) in [("a", 1), ("b", 2), ("c", 1)] {
        made(both, called).await;
        let one = followed(called, number, "demo");
        both.follow(&one).await.expect("kept");
    }
    for (number, newest) in [(1, Some("c")), (2, Some("b")), (3, None)] {
        let latest = both.latest(&thread(number)).await.expect("ok");
        assert_eq!(latest, newest.map(name), "{number}");
    }
    let elsewhere = Thread {
        repo: "rust-lang/cargo".parse().expect("a repository"),
        number: 1,
    };
    assert_eq!(both.latest(&elsewhere).await.expect("ok"), None);
    assert_eq!(names(both).await, ["a", "b", "c"], "as they were made");
}

async fn what_happens_again_is_told_again(both: &(impl Store + Follows)) {
    made(both, "e").await;
    both.follow(&followed("e", 1, "demo")).await.expect("kept");
    let lease = claim(both, 1, 1).await.granted[0].lease.clone();
    both.submit(&lease, &passing(), at(2)).await.expect("kept");
    let steps = [
        (Change::BeginReport, 3),
        (Change::FinishReport, 4),
        (Change::WantReport, 5),
        (Change::BeginReport, 6),
        (Change::FinishReport, 7),
    ];
    let e = name("e");
    for (change, second) in steps {
        both.move_on(&e, None, change, at(second))
            .await
            .expect("ok");
        let untold = only(both).await;
        assert_eq!(untold.since, at(second), "{change:?}");
        if untold.state == State::Completed {
            tell(both).await;
            assert!(names(both).await.is_empty(), "{change:?}");
        }
    }
}

async fn only_what_there_is_can_be_followed(both: &(impl Store + Follows)) {
    let missing = both.follow(&followed("missing", 1, "demo")).await;
    let error = missing.expect_err("there is none").to_string();
    assert!(error.contains("`missing`"), "{error}");
    both.told(&name("missing"), &Told::default())
        .await
        .expect_err("there is none");
}
