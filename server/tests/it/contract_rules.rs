//! What every store promises of experiments' lives and of sharing the fleet: the rules of the
//! domain, carried out.

use std::sync::Arc;

use ejecta_core::compare::Verdict;
use ejecta_core::experiment::Config;
use ejecta_core::lifecycle::{Change, Edited, State};
use ejecta_core::mode::Scope;
use ejecta_core::retry::Parent;
use ejecta_server::store::{
    Claim, Claimed, Edit, EditEnd, Filter, JobState, Moved, NewExperiment, Order, Released, Replan,
    Requeue, Setback, Store, StoreError, Submitted, all_results,
};
use serde_json::json;

use crate::fixtures::{
    at, beat, claim, claim_as, create, experiment, granted, leases, name, passing, plan, skipped,
};

type Shared = Arc<dyn Store>;

pub(crate) async fn state(store: &Shared, of: &str) -> State {
    let filed = store.experiment(&name(of)).await.expect("ok");
    filed.expect("kept").state
}

pub(crate) async fn with(store: &Shared, crates: usize) {
    create(&**store, &experiment("e", Scope::Lib), &plan(crates)).await;
}

/// An experiment of one tier with so many crates, that asks for this and has this priority.
pub(crate) async fn filed(
    store: &Shared,
    called: &str,
    crates: usize,
    priority: i32,
    requirements: &str,
) {
    let experiment = experiment(called, Scope::Lib);
    let plan = plan(crates);
    let new = NewExperiment {
        priority,
        requirements: requirements.parse().expect("valid"),
        ..NewExperiment::plain(&experiment, &plan)
    };
    store.create(&new).await.expect("created");
}

/// Whose jobs were granted, such as `a a b`.
pub(crate) fn whose(claimed: &Claimed) -> String {
    let names: Vec<&str> = claimed
        .granted
        .iter()
        .map(|g| g.experiment.as_str())
        .collect();
    names.join(" ")
}

/// The message of the error of the only crate.
pub(crate) async fn error(store: &Shared) -> String {
    let mut results = all_results(&**store, &name("e")).await.expect("results");
    match results.remove(0).tiers.remove(0).state {
        JobState::Error { message } => message,
        other => panic!("given up, and not {other:?}"),
    }
}

pub async fn experiments_have_their_papers(store: Shared) {
    with(&store, 1).await;
    let experiment = experiment("again", Scope::Lib);
    let parent = Parent {
        name: name("e"),
        verdicts: vec![Verdict::Regressed, Verdict::Error],
    };
    let plan = plan(2);
    let new = NewExperiment {
        priority: -7,
        requirements: "os=linux memory-mib=4096".parse().expect("valid"),
        parent: Some(parent.clone()),
        snapshot: Some(json!({"index": "0123abcd"})),
        ..NewExperiment::plain(&experiment, &plan)
    };
    store.create(&new).await.expect("created");
    let filed = store.experiment(&name("again")).await.expect("ok");
    let filed = filed.expect("kept");
    assert_eq!(filed.priority, -7);
    assert_eq!(filed.requirements.to_string(), "memory-mib=4096 os=linux");
    assert_eq!(filed.parent, Some(parent));
    assert_eq!(filed.snapshot, Some(json!({"index": "0123abcd"})));
    assert_eq!(filed.experiment, experiment);
}

pub async fn experiments_are_listed_in_pages(store: Shared) {
    for called in ["a", "b", "c", "d"] {
        create(&*store, &experiment(called, Scope::Lib), &plan(1)).await;
    }
    let moved = store
        .move_on(&name("b"), None, Change::Abort, at(5))
        .await
        .expect("ok");
    assert_eq!(moved, Moved::To(State::Aborted));
    let list = async |filter: Filter<'_>| -> (String, Option<i64>) {
        let found = store.experiments(&filter).await.expect("ok");
        let last = found.last().map(|f| f.number);
        let names: Vec<&str> = found.iter().map(|f| f.experiment.name.as_str()).collect();
        (names.join(" "), last)
    };
    assert_eq!(list(Filter::ALL).await.0, "a b c d");
    let newest = Filter {
        order: Order::NewestFirst,
        limit: 2,
        ..Filter::ALL
    };
    let (names, last) = list(newest).await;
    assert_eq!(names, "d c");
    let next = Filter {
        after: last,
        ..newest
    };
    assert_eq!(list(next).await.0, "b a");
    let queued = Filter {
        states: &[State::Queued, State::Running],
        ..Filter::ALL
    };
    assert_eq!(list(queued).await.0, "a c d");
    let aborted = Filter {
        states: &[State::Aborted],
        ..Filter::ALL
    };
    assert_eq!(list(aborted).await.0, "b");
}

pub async fn a_large_plan_can_be_replaced(store: Shared) {
    create(&*store, &experiment("e", Scope::All), &plan(6000)).await;
    let smaller = plan(5500);
    let edit = Edit {
        plan: Some(Replan {
            selection: "top-5500",
            seed: 8,
            plan: &smaller,
            snapshot: None,
        }),
        ..Edit::default()
    };
    let edited = store.edit(&name("e"), &edit, at(1)).await.expect("ok");
    assert_eq!(edited, EditEnd::Done);
    let counts = store.counts(&name("e")).await.expect("ok");
    assert_eq!((counts.total(), counts.unfinished()), (11_000, 11_000));
    assert_eq!(store.plan(&name("e")).await.expect("ok").len(), 5500);
}

pub async fn an_experiment_is_edited_until_it_starts(store: Shared) {
    with(&store, 3).await;
    let config = Config {
        scope: Scope::All,
        ..experiment("e", Scope::Lib).config
    };
    let other = "os=linux".parse().expect("valid");
    let two = plan(2);
    let edit = Edit {
        priority: Some(5),
        requirements: Some(&other),
        config: Some(&config),
        plan: Some(Replan {
            selection: "top-2",
            seed: 9,
            plan: &two,
            snapshot: Some(&json!("s")),
        }),
        ..Edit::default()
    };
    let edited = store.edit(&name("e"), &edit, at(1)).await.expect("ok");
    assert_eq!(edited, EditEnd::Done);
    let filed = store.experiment(&name("e")).await.expect("ok");
    let filed = filed.expect("kept");
    assert_eq!((filed.priority, &filed.requirements), (5, &other));
    assert_eq!(filed.experiment.config, config);
    assert_eq!(filed.experiment.selection, "top-2");
    assert_eq!(
        (filed.experiment.seed, filed.snapshot),
        (9, Some(json!("s")))
    );
    assert_eq!(store.plan(&name("e")).await.expect("ok"), two);
    let all = claim_as(&*store, "tester", "os=linux", 0, 9).await;
    assert_eq!(granted(&all), ["c0 lib", "c1 lib", "c0 all", "c1 all"]);

    // It runs: what decides results is fixed, what decides who runs is not, and nothing is done by
    // half.
    let both = Edit {
        priority: Some(6),
        config: Some(&config),
        ..Edit::default()
    };
    let refused = store.edit(&name("e"), &both, at(1)).await.expect("ok");
    assert_eq!(refused, EditEnd::TooLate(State::Running, Edited::Config));
    let filed = store.experiment(&name("e")).await.expect("ok");
    assert_eq!(filed.expect("kept").priority, 5);
    let one = Edit {
        priority: Some(6),
        ..Edit::default()
    };
    assert_eq!(
        store.edit(&name("e"), &one, at(1)).await.expect("ok"),
        EditEnd::Done
    );
    let counts = store.counts(&name("e")).await.expect("ok");
    assert_eq!((counts.total(), counts.tiers[0].leased), (4, 2));
}

pub async fn a_state_is_moved_by_one(store: Shared) {
    with(&store, 0).await;
    store.expire(at(1)).await.expect("ok");
    assert_eq!(state(&store, "e").await, State::NeedsReport);
    let movers: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            let from = Some(State::NeedsReport);
            tokio::spawn(async move {
                store
                    .move_on(&name("e"), from, Change::BeginReport, at(2))
                    .await
                    .expect("ok")
            })
        })
        .collect();
    let mut won = 0;
    for mover in movers {
        match mover.await.expect("no panic") {
            Moved::To(State::GeneratingReport) => won += 1,
            Moved::Not(State::GeneratingReport) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(won, 1);
    let from = Some(State::Running);
    let not = store
        .move_on(&name("e"), from, Change::FinishReport, at(3))
        .await;
    assert_eq!(not.expect("ok"), Moved::Not(State::GeneratingReport));
}

pub async fn an_experiment_lives_from_queue_to_report(store: Shared) {
    with(&store, 2).await;
    assert_eq!(state(&store, "e").await, State::Queued);
    let held = claim(&*store, 10, 2).await;
    assert_eq!(state(&store, "e").await, State::Running);
    let filed = store.experiment(&name("e")).await.expect("ok");
    assert_eq!(filed.expect("kept").since, at(10));
    let [one, two] = [0, 1].map(|n| held.granted[n].lease.clone());
    store.submit(&one, &passing(), at(11)).await.expect("ok");
    assert_eq!(state(&store, "e").await, State::Running);
    store
        .release(&two, Setback::Permanent("x"), at(12))
        .await
        .expect("ok");
    assert_eq!(state(&store, "e").await, State::NeedsReport);
    for (change, then) in [
        (Change::BeginReport, State::GeneratingReport),
        (Change::LoseReport, State::NeedsReport),
        (Change::BeginReport, State::GeneratingReport),
        (Change::FinishReport, State::Completed),
    ] {
        let moved = store.move_on(&name("e"), None, change, at(20)).await;
        assert_eq!(moved.expect("ok"), Moved::To(then));
    }
    assert_eq!(state(&store, "e").await, State::Completed);
    let again = store.move_on(&name("e"), None, Change::Abort, at(21)).await;
    assert_eq!(again.expect("ok"), Moved::Not(State::Completed));
}

pub async fn an_experiment_of_skipped_crates_ends_at_once(store: Shared) {
    create(&*store, &experiment("e", Scope::All), &[skipped("x")]).await;
    assert_eq!(claim(&*store, 0, 1).await.granted, []);
    let expired = store.expire(at(1)).await.expect("ok");
    assert_eq!(expired.ended, [name("e")]);
    assert_eq!(state(&store, "e").await, State::NeedsReport);
    let expired = store.expire(at(2)).await.expect("ok");
    assert_eq!((expired.ended, expired.lost), (vec![], vec![]));
}

pub async fn abort_takes_leases_away(store: Shared) {
    with(&store, 3).await;
    filed(&store, "other", 1, -1, "").await;
    let held = claim(&*store, 0, 2).await;
    let leases: Vec<_> = held.granted.iter().map(|g| g.lease.clone()).collect();
    store
        .submit(&leases[0], &passing(), at(1))
        .await
        .expect("ok");
    let moved = store.move_on(&name("e"), None, Change::Abort, at(1)).await;
    assert_eq!(moved.expect("ok"), Moved::To(State::Aborted));
    assert_eq!(beat(&*store, &leases[1..], 2).await.lost, leases[1..]);
    let late = store.submit(&leases[1], &passing(), at(2)).await;
    assert_eq!(late.expect("ok"), Submitted::Stale);
    // What is left of it is nobody's work any more, and no agent waits for it.
    let next = claim(&*store, 3, 9).await;
    assert_eq!((whose(&next).as_str(), next.unfinished), ("other", 1));
    let counts = store.counts(&name("e")).await.expect("ok");
    assert_eq!((counts.finished(), counts.tiers[0].queued), (1, 2));
}

pub async fn a_reopened_experiment_runs_again(store: Shared) {
    with(&store, 1).await;
    let held = claim(&*store, 0, 1).await;
    let lease = &held.granted[0].lease;
    let why = Setback::Permanent("no disk");
    store.release(lease, why, at(1)).await.expect("ok");
    assert_eq!(state(&store, "e").await, State::NeedsReport);
    for what in [Requeue::Leased, Requeue::GivenUp, Requeue::GivenUp] {
        store.requeue(&name("e"), what, at(2)).await.expect("ok");
    }
    assert_eq!(state(&store, "e").await, State::Running);
    assert_eq!(granted(&claim(&*store, 3, 1).await), ["c0 lib"]);
}

pub async fn priority_comes_first(store: Shared) {
    filed(&store, "low", 3, -1, "").await;
    filed(&store, "high", 2, 9, "").await;
    filed(&store, "middle", 3, 0, "").await;
    assert_eq!(whose(&claim(&*store, 0, 3).await), "high high middle");
    let edit = Edit {
        priority: Some(10),
        ..Edit::default()
    };
    store.edit(&name("low"), &edit, at(1)).await.expect("ok");
    assert_eq!(whose(&claim(&*store, 0, 4).await), "low low low middle");
}

pub async fn experiments_of_one_priority_take_turns(store: Shared) {
    filed(&store, "full", 50, 0, "").await;
    assert_eq!(claim(&*store, 0, 8).await.granted.len(), 8);
    filed(&store, "small", 6, 0, "").await;
    // The new one catches up, and then they take turns; what it does not need the other has.
    let count = |claimed: &Claimed, of: &str| {
        let is = |g: &&ejecta_server::store::Granted| g.experiment.as_str() == of;
        claimed.granted.iter().filter(is).count()
    };
    let next = claim(&*store, 0, 4).await;
    assert_eq!((count(&next, "small"), count(&next, "full")), (4, 0));
    let next = claim(&*store, 0, 8).await;
    assert_eq!((count(&next, "small"), count(&next, "full")), (2, 6));
}

pub async fn requirements_are_met(store: Shared) {
    filed(&store, "any", 1, 0, "").await;
    filed(&store, "arm", 1, 1, "arch=aarch64").await;
    filed(&store, "large", 1, 2, "memory-mib=8192 gpu=yes").await;
    let none = claim(&*store, 0, 9).await;
    assert_eq!((whose(&none).as_str(), none.unfinished), ("any", 3));
    let small = claim_as(&*store, "b", "memory-mib=8191 gpu=yes", 0, 9).await;
    assert_eq!(small.granted, []);
    let both = "memory-mib=8192 gpu=yes arch=aarch64";
    let both = claim_as(&*store, "c", both, 0, 9).await;
    assert_eq!(whose(&both), "large arm");
}

pub async fn a_command_is_carried_out_once(store: Shared) {
    let (one, two) = (experiment("one", Scope::Lib), experiment("two", Scope::Lib));
    let entries = plan(2);
    let make = |experiment| NewExperiment {
        facts: [("by", json!("somebody"))].into(),
        command: Some("make"),
        ..NewExperiment::plain(experiment, &entries)
    };
    assert_eq!(store.commanded("make").await.expect("ok"), None);
    store.create(&make(&one)).await.expect("the first time");
    let facts = store.facts(&name("one")).await.expect("ok");
    assert_eq!(facts.get("by"), Some(&json!("somebody")));
    let fact = store.fact(&name("one"), "by").await.expect("ok");
    assert_eq!(fact, Some(json!("somebody")));
    let again = store
        .create(&make(&two))
        .await
        .expect_err("the second time");
    assert!(
        matches!(&again, StoreError::Commanded(made) if *made == name("one")),
        "{again}"
    );
    assert_eq!(store.experiment(&name("two")).await.expect("ok"), None);
    let made = store.commanded("make").await.expect("ok");
    assert_eq!(made, Some(name("one")));

    let raise = |priority| Edit {
        priority: Some(priority),
        facts: [("by", json!(priority))].into(),
        command: Some("raise"),
        ..Edit::default()
    };
    for (priority, end) in [(5, EditEnd::Done), (7, EditEnd::Repeated)] {
        let edited = store.edit(&name("one"), &raise(priority), at(1)).await;
        assert_eq!(edited.expect("ok"), end);
    }
    let filed = store.experiment(&name("one")).await.expect("ok");
    assert_eq!(filed.expect("kept").priority, 5);
    let fact = store.fact(&name("one"), "by").await.expect("ok");
    assert_eq!(fact, Some(json!(5)));
    for first in [true, false] {
        let remembered = store.remember_command("end", &name("one"), at(2)).await;
        assert_eq!(remembered.expect("ok"), first);
    }
    let unknown = store.remember_command("x", &name("none"), at(2)).await;
    assert!(matches!(unknown, Err(StoreError::UnknownExperiment(_))));
}

pub async fn the_first_to_settle_a_fact_decides(store: Shared) {
    with(&store, 1).await;
    let settle = async |value: &str| {
        let settled = store
            .settle_fact(&name("e"), "compiler", &json!(value))
            .await;
        settled.expect("ok")
    };
    let (one, two) = tokio::join!(settle("one"), settle("two"));
    assert_eq!(one, two);
    assert_eq!(settle("three").await, one);
    let kept = store.fact(&name("e"), "compiler").await.expect("ok");
    assert_eq!(kept, Some(one));
    let unknown = store.settle_fact(&name("none"), "x", &json!(1)).await;
    assert!(matches!(unknown, Err(StoreError::UnknownExperiment(_))));
}

pub async fn what_an_agent_leaves_out_it_does_not_get(store: Shared) {
    filed(&store, "a", 2, 5, "").await;
    filed(&store, "b", 2, 0, "").await;
    let claim = Claim {
        agent: "one".to_owned(),
        capabilities: "".parse().expect("valid"),
        leases: leases(9),
        now: at(1),
        until: at(60),
        expired: at(1),
        alive_since: at(0),
        without: vec![name("a"), name("none")],
    };
    let claimed = store.claim(claim).await.expect("ok");
    assert_eq!(whose(&claimed), "b b");
    assert_eq!(claimed.unfinished, 4, "what others may do counts");
    assert_eq!(
        state(&store, "a").await,
        State::Queued,
        "it was not started"
    );
}

pub async fn the_first_grant_is_remembered(store: Shared) {
    with(&store, 2).await;
    let started = async || {
        let filed = store.experiment(&name("e")).await.expect("ok");
        filed.expect("kept").started
    };
    assert_eq!(started().await, None);
    for seconds in [3, 4] {
        claim(&*store, seconds, 1).await;
        assert_eq!(started().await, Some(at(3)), "{seconds}");
    }
}

pub async fn failures_of_ours_are_listed_in_the_plans_order(store: Shared) {
    with(&store, 3).await;
    let held = claim(&*store, 0, 3).await;
    assert_eq!(store.newest(&name("e")).await.expect("ok"), 0);
    for (n, error) in [(2, "no disk"), (0, "<b>no network</b>")] {
        let lease = &held.granted[n].lease;
        let released = store.release(lease, Setback::Permanent(error), at(1)).await;
        assert!(matches!(released, Ok(Released::GivenUp(_))), "{released:?}");
    }
    let lease = &held.granted[1].lease;
    store.submit(lease, &passing(), at(1)).await.expect("ok");
    let all = store.failures(&name("e"), 9).await.expect("ok");
    let told: Vec<(String, u32, &str, &str)> = all
        .iter()
        .map(|f| {
            (
                f.job.to_string(),
                f.attempts,
                f.agent.as_str(),
                f.message.as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                "c0-1.0.0 (lib)".to_owned(),
                1,
                "tester",
                "<b>no network</b>"
            ),
            ("c2-1.0.0 (lib)".to_owned(), 1, "tester", "no disk"),
        ]
    );
    assert_eq!(store.failures(&name("e"), 1).await.expect("ok"), all[..1]);
    let news = store.news(&name("e"), 0, 9).await.expect("ok");
    assert_eq!(news.len(), 1);
    assert_eq!(store.newest(&name("e")).await.expect("ok"), news[0].number);
    let unknown = store.newest(&name("none")).await;
    assert!(matches!(unknown, Err(StoreError::UnknownExperiment(_))));
}
