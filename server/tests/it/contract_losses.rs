//! What every store promises of jobs that go wrong: failures, lost leases, quarantine, larger
//! classes.

use std::sync::Arc;

use ejecta_core::job::MAX_ATTEMPTS;
use ejecta_core::lifecycle::State;
use ejecta_core::mode::Scope;
use ejecta_core::queue::{AfterLoss, MAX_SIZE};
use ejecta_server::store::{Loss, Released, Requeue, Setback, Store, Submitted};

use crate::fixtures::{
    LEASE, STUCK, at, beat, beat_as, claim, claim_as, experiment, granted, name, passing, record,
    see,
};

use crate::contract_rules::{error, filed, state, with};

type Shared = Arc<dyn Store>;

pub async fn a_failed_job_goes_to_another_agent(store: Shared) {
    filed(&store, "e", 1, 0, "os=linux").await;
    for (agent, capabilities) in [("a", "os=linux"), ("b", "os=linux"), ("c", "os=other")] {
        see(&*store, agent, capabilities, 0).await;
    }
    let claim = async |agent: &str, now| {
        let claimed = claim_as(&*store, agent, "os=linux", now, 1).await;
        claimed.granted.into_iter().next().map(|g| g.lease)
    };
    let fail = async |lease: &_, now| {
        let why = Setback::Transient("docker went away");
        store.release(lease, why, at(now)).await.expect("ok")
    };
    let lease = claim("a", 0).await.expect("granted");
    fail(&lease, 1).await;
    assert_eq!(claim("a", 2).await, None, "`b` is there");
    let lease = claim("b", 2).await.expect("granted");
    fail(&lease, 3).await;
    // Nobody who could take it has not failed it.
    let lease = claim("a", 4).await.expect("granted");
    assert!(matches!(fail(&lease, 5).await, Released::GivenUp(_)));

    // Who is not heard of any more is waited for no longer.
    filed(&store, "f", 1, 0, "os=linux").await;
    let lease = claim("a", 10).await.expect("granted");
    fail(&lease, 11).await;
    assert_eq!(claim("a", LEASE - 1).await, None);
    assert!(claim("a", LEASE + 1).await.is_some());
}

pub async fn a_lapsed_lease_holds_again_until_the_job_is_granted(store: Shared) {
    with(&store, 1).await;
    let held = claim(&*store, 0, 1).await;
    let lease = held.granted[0].lease.clone();
    for round in 1..=2 * i64::from(MAX_ATTEMPTS) {
        // Taken away, and found alive after all: no attempt is lost, and it is no killer.
        let now = round * 2 * LEASE;
        let lost = store.expire(at(now)).await.expect("ok").lost;
        assert_eq!((lost.len(), lost[0].then), (1, AfterLoss::Requeue));
        let beat = beat(&*store, std::slice::from_ref(&lease), now).await;
        assert_eq!(beat.extended, std::slice::from_ref(&lease));
        let counts = store.counts(&name("e")).await.expect("ok");
        assert_eq!((counts.tiers[0].queued, counts.tiers[0].leased), (0, 1));
        assert_eq!(claim(&*store, now, 1).await.granted, []);
    }
    let now = 100 * LEASE;
    store.expire(at(now)).await.expect("ok");
    assert_eq!(granted(&claim(&*store, now, 1).await), ["c0 lib #2"]);
    let beat = beat(&*store, std::slice::from_ref(&lease), now).await;
    assert_eq!(beat.lost, [lease]);
}

pub async fn late_work_is_welcome_after_a_sweep(store: Shared) {
    with(&store, 2).await;
    let held = claim(&*store, 0, 1).await;
    let lease = &held.granted[0].lease;
    assert_eq!(store.expire(at(LEASE)).await.expect("ok").lost.len(), 1);
    let job = store.leased_job(lease).await.expect("ok").expect("welcome");
    assert!(!job.finished);
    let late = store.submit(lease, &record("late"), at(LEASE + 1)).await;
    let Submitted::Committed(counts) = late.expect("ok") else {
        panic!("nobody else has it");
    };
    assert_eq!((counts.finished(), counts.tiers[0].queued), (1, 1));
    let again = store.submit(lease, &record("late"), at(LEASE + 2)).await;
    assert_eq!(again.expect("ok"), Submitted::Repeated);
    assert_eq!(granted(&claim(&*store, LEASE, 9).await), ["c1 lib"]);
}

pub async fn a_stuck_job_is_taken_away(store: Shared) {
    with(&store, 1).await;
    let lease = claim(&*store, 0, 1).await.granted[0].lease.clone();
    let beat = async |now| {
        let beats = [(lease.clone(), Some(3))];
        beat_as(&*store, "tester", &beats, now).await
    };
    let one = std::slice::from_ref(&lease);
    for now in [10, 10 + STUCK / 2, 10 + STUCK - 1] {
        assert_eq!(beat(now).await.extended, one, "{now}");
    }
    let last = beat(10 + STUCK).await;
    assert_eq!((last.extended, last.lost), (vec![], vec![lease.clone()]));
    let [stuck] = last.stuck.as_slice() else {
        panic!("one is stuck: {:?}", last.stuck);
    };
    assert_eq!((stuck.why, stuck.then), (Loss::Stuck, AfterLoss::Requeue));
    // It was not merely late: nothing of it is welcome any more.
    assert_eq!(beat(11 + STUCK).await.lost, one);
    let late = store.submit(&lease, &passing(), at(11 + STUCK)).await;
    assert_eq!(late.expect("ok"), Submitted::Stale);
    let again = claim(&*store, 12 + STUCK, 1).await;
    assert_eq!(granted(&again), ["c0 lib #2"]);
}

pub async fn progress_keeps_a_job(store: Shared) {
    with(&store, 2).await;
    let held = claim(&*store, 0, 2).await;
    let [told, silent] = [0, 1].map(|n| held.granted[n].lease.clone());
    for round in 0..6 {
        let now = round * (STUCK - 1);
        // Any other number is progress, a smaller one too; and none is no sign of anything.
        let number = u64::MAX - u64::try_from(round).expect("small") % 2;
        let beats = [(told.clone(), Some(number)), (silent.clone(), None)];
        let beat = beat_as(&*store, "tester", &beats, now).await;
        assert_eq!(beat.extended, [told.clone(), silent.clone()], "{round}");
    }
}

pub async fn leases_of_others_are_not_extended(store: Shared) {
    with(&store, 2).await;
    let mine = claim_as(&*store, "a", "", 0, 1).await.granted[0]
        .lease
        .clone();
    let yours = claim_as(&*store, "b", "", 0, 1).await.granted[0]
        .lease
        .clone();
    let both = [(mine.clone(), None), (yours.clone(), None)];
    let beat = beat_as(&*store, "a", &both, 10).await;
    assert_eq!(beat.foreign, [yours]);
    assert_eq!((beat.extended, beat.lost), (vec![], vec![]));
    // Nothing was changed: both end when they would have ended.
    let lost = store.expire(at(LEASE)).await.expect("ok").lost;
    assert_eq!(lost.len(), 2);
}

pub async fn a_job_that_kills_agents_is_quarantined(store: Shared) {
    with(&store, 1).await;
    let mut now = 0;
    for agent in ["a", "b", "c"] {
        let claimed = claim_as(&*store, agent, "", now, 1).await;
        assert_eq!(claimed.granted.len(), 1, "{agent}");
        now += LEASE;
        let lost = store.expire(at(now)).await.expect("ok").lost;
        let last = agent == "c";
        assert_eq!(lost[0].then == AfterLoss::Quarantine, last, "{agent}");
    }
    assert_eq!(
        error(&store).await,
        "quarantined: 3 agents fell silent while they had it (`a`, `b`, `c`)"
    );
    assert_eq!(state(&store, "e").await, State::NeedsReport);
    // Somebody has mended it: it is tried as if never before.
    let requeued = store.requeue(&name("e"), Requeue::GivenUp, at(now)).await;
    assert_eq!(requeued.expect("ok"), 1);
    let again = claim_as(&*store, "a", "", now, 1).await;
    assert_eq!(
        (granted(&again), state(&store, "e").await),
        (vec!["c0 lib".to_owned()], State::Running)
    );
    let lost = store.expire(at(now + LEASE)).await.expect("ok").lost;
    assert_eq!(lost[0].then, AfterLoss::Requeue);
}

pub async fn a_job_out_of_memory_goes_to_a_larger_class(store: Shared) {
    with(&store, 2).await;
    let bytes = experiment("e", Scope::Lib).config.limits.memory_bytes;
    let mib = bytes / 1024 / 1024;
    let held = claim(&*store, 0, 1).await;
    assert_eq!(
        (
            held.granted[0].size,
            held.granted[0].options.limits.memory_bytes
        ),
        (0, None)
    );
    let lease = &held.granted[0].lease;
    let job = store.leased_job(lease).await.expect("ok").expect("held");
    assert_eq!((job.size, job.memory_bytes), (0, bytes));
    let released = store.release(lease, Setback::TooSmall("oom"), at(1)).await;
    assert!(matches!(released, Ok(Released::Requeued(_))));
    let too_small = format!("memory-mib={}", 2 * mib - 1);
    let other = claim_as(&*store, "small", &too_small, 1, 9).await;
    assert_eq!(granted(&other), ["c1 lib"], "the other one is not for it");
    assert_eq!(claim(&*store, 1, 9).await.granted, []);
    let enough = format!("memory-mib={}", 2 * mib);
    let large = claim_as(&*store, "large", &enough, 1, 9).await;
    // The attempt did not count.
    assert_eq!(granted(&large), ["c0 lib"]);
    let job = &large.granted[0];
    assert_eq!(
        (job.size, job.options.limits.memory_bytes),
        (1, Some(2 * bytes))
    );
    let job = store
        .leased_job(&job.lease)
        .await
        .expect("ok")
        .expect("held");
    assert_eq!((job.size, job.memory_bytes), (1, 2 * bytes));
}

pub async fn the_largest_class_is_the_last(store: Shared) {
    with(&store, 1).await;
    for size in 0..=MAX_SIZE {
        let held = claim_as(&*store, "large", "memory-mib=1000000", 0, 1).await;
        assert_eq!(held.granted[0].size, size);
        let lease = &held.granted[0].lease;
        let released = store.release(lease, Setback::TooSmall("oom"), at(1)).await;
        let last = size == MAX_SIZE;
        assert_eq!(matches!(released, Ok(Released::GivenUp(_))), last, "{size}");
    }
    assert_eq!(error(&store).await, "oom");
}

pub async fn leases_of_one_agent_can_be_given_back(store: Shared) {
    with(&store, 3).await;
    claim_as(&*store, "a", "", 0, 2).await;
    claim_as(&*store, "b", "", 0, 1).await;
    let requeue = async |agent| {
        let what = Requeue::LeasedTo(agent);
        store.requeue(&name("e"), what, at(1)).await.expect("ok")
    };
    assert_eq!(
        (requeue("a").await, requeue("a").await, requeue("c").await),
        (2, 0, 0)
    );
    assert_eq!(granted(&claim(&*store, 1, 9).await), ["c0 lib", "c1 lib"]);
}
