//! What every store promises of results as they come in, of tokens and agents, and of
//! many agents at once.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use ejecta_core::compare::Verdict;
use ejecta_core::job::LeaseId;
use ejecta_core::lifecycle::{Change, State};
use ejecta_core::mode::Scope;
use ejecta_server::store::{
    JobState, Requeue, Setback, Sighting, Store, StoreError, Submitted, all_results, all_verdicts,
};

use crate::client::token;
use crate::fixtures::{
    LEASE, at, claim, claim_as, create, experiment, name, passing, plan, record, see, skipped,
};

type Shared = Arc<dyn Store>;

async fn with(store: &Shared, crates: usize, scope: Scope) {
    create(&**store, &experiment("e", scope), &plan(crates)).await;
}

async fn done(store: &Shared, lease: &LeaseId) {
    let done = store.submit(lease, &passing(), at(1)).await.expect("ok");
    assert!(matches!(done, Submitted::Committed(_)));
}

pub async fn verdicts_are_counted(store: Shared) {
    with(&store, 4, Scope::All).await;
    assert!(
        store
            .verdict_counts(&name("e"))
            .await
            .expect("ok")
            .is_empty()
    );
    let held = claim(&*store, 0, 5).await;
    let lease = |n: usize| &held.granted[n].lease;
    done(&store, lease(0)).await;
    done(&store, lease(1)).await;
    let broken = store.submit(lease(2), &record("x"), at(1)).await;
    assert!(matches!(broken, Ok(Submitted::Committed(_))));
    let why = Setback::Permanent("x");
    store.release(lease(3), why, at(1)).await.expect("ok");
    done(&store, lease(4)).await;
    let counts = store.verdict_counts(&name("e")).await.expect("ok");
    let lib = BTreeMap::from([
        (Verdict::TestPass, 2),
        (Verdict::Broken, 1),
        (Verdict::Error, 1),
    ]);
    let all = BTreeMap::from([(Verdict::TestPass, 1)]);
    assert_eq!(
        counts,
        BTreeMap::from([(Scope::Lib, lib), (Scope::All, all)])
    );
    let what = Requeue::GivenUp;
    store.requeue(&name("e"), what, at(2)).await.expect("ok");
    let counts = store.verdict_counts(&name("e")).await.expect("ok");
    assert!(!counts[&Scope::Lib].contains_key(&Verdict::Error));
}

pub async fn verdicts_are_paged_without_records(store: Shared) {
    let mut entries = plan(3);
    entries.insert(1, skipped("x"));
    create(&*store, &experiment("e", Scope::All), &entries).await;
    let held = claim(&*store, 0, 4).await;
    done(&store, &held.granted[0].lease).await;
    let why = Setback::Permanent("x");
    let second = &held.granted[1].lease;
    store.release(second, why, at(1)).await.expect("ok");
    let all = all_verdicts(&*store, &name("e")).await.expect("ok");
    let shown: Vec<String> = all
        .iter()
        .map(|crates| {
            let tiers = crates.tiers.iter();
            let tiers: Vec<String> = tiers.map(|t| format!("{:?}", t.verdict)).collect();
            format!("{} {}", crates.entry.krate.name, tiers.join(" "))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "c0 Some(TestPass) None",
            "x ",
            "c1 Some(Error) None",
            "c2 None None"
        ]
    );
    let page = store.verdicts(&name("e"), 2, 1).await.expect("ok");
    assert_eq!(page, all[2..3]);
    assert_eq!(store.verdicts(&name("e"), 4, 9).await.expect("ok"), []);
    // Where the logs are is known of what is finished.
    let results = all_results(&*store, &name("e")).await.expect("ok");
    let lease = results[0].tiers[0].lease.as_ref();
    assert_eq!(lease, Some(&held.granted[0].lease));
    assert!(results[2].tiers.iter().all(|tier| tier.lease.is_none()));
}

pub async fn news_are_told_once_in_order(store: Shared) {
    with(&store, 5, Scope::Lib).await;
    create(&*store, &experiment("other", Scope::Lib), &plan(1)).await;
    assert_eq!(store.news(&name("e"), 0, 9).await.expect("ok"), []);
    let held = claim(&*store, 0, 6).await;
    for at in [3, 5, 0, 1, 2] {
        done(&store, &held.granted[at].lease).await;
    }
    let of_e: Vec<LeaseId> = [3, 5, 0, 1, 2]
        .into_iter()
        .map(|at| &held.granted[at])
        .filter(|job| job.experiment == name("e"))
        .map(|job| job.lease.clone())
        .collect();
    let mut told = Vec::new();
    let mut last = 0;
    loop {
        let news = store.news(&name("e"), last, 2).await.expect("ok");
        let Some(newest) = news.last() else { break };
        last = newest.number;
        told.extend(news);
    }
    let leases: Vec<LeaseId> = told.iter().map(|news| news.lease.clone()).collect();
    assert_eq!(leases, of_e);
    assert!(told.iter().all(|news| news.verdict == Verdict::TestPass));
    assert!(told.iter().all(|news| news.agent == "tester"));
    assert!(told.is_sorted_by(|a, b| a.number < b.number));
}

pub async fn news_miss_nothing_while_results_come_in(store: Shared) {
    const CRATES: usize = 120;
    with(&store, CRATES, Scope::Lib).await;
    let held = claim(&*store, 0, CRATES).await;
    let ended = Arc::new(AtomicBool::new(false));
    let follower = {
        let (store, ended) = (Arc::clone(&store), Arc::clone(&ended));
        tokio::spawn(async move {
            let mut told = Vec::new();
            let mut last = 0;
            loop {
                let over = ended.load(Ordering::SeqCst);
                let news = store.news(&name("e"), last, 7).await.expect("ok");
                last = news.last().map_or(last, |news| news.number);
                let none = news.is_empty();
                told.extend(news.into_iter().map(|news| news.lease));
                if over && none {
                    return told;
                }
            }
        })
    };
    let submitters: Vec<_> = held
        .granted
        .chunks(CRATES / 6)
        .map(|jobs| {
            let leases: Vec<LeaseId> = jobs.iter().map(|job| job.lease.clone()).collect();
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for lease in leases {
                    done(&store, &lease).await;
                }
            })
        })
        .collect();
    for submitter in submitters {
        submitter.await.expect("no panic");
    }
    ended.store(true, Ordering::SeqCst);
    let told = follower.await.expect("no panic");
    assert_eq!(told.len(), CRATES);
    assert_eq!(told.into_iter().collect::<HashSet<_>>().len(), CRATES);
}

pub async fn tokens_are_kept_without_their_secret(store: Shared) {
    let (one, secret) = token(1, "agent", Some("a"), Some(500));
    let (two, _) = token(2, "admin,read", None, None);
    assert!(store.add_token(&one).await.expect("ok"));
    assert!(store.add_token(&two).await.expect("ok"));
    assert!(!store.add_token(&one).await.expect("ok"), "its id is taken");
    assert_eq!(
        store.tokens().await.expect("ok"),
        [one.clone(), two.clone()]
    );
    let found = store.token(&one.id).await.expect("ok").expect("kept");
    assert_eq!(found, one);
    let other = secret.rsplit('_').next().expect("a secret").to_owned();
    assert_eq!(store.token(&other).await.expect("ok"), None);
    assert_eq!(store.token("' OR 1=1 --").await.expect("ok"), None);

    store.touch_token(&one.id, at(7)).await.expect("ok");
    assert!(store.revoke_token(&one.id, at(9)).await.expect("ok"));
    assert!(!store.revoke_token(&one.id, at(10)).await.expect("ok"));
    assert!(!store.revoke_token("none", at(10)).await.expect("ok"));
    let found = store.token(&one.id).await.expect("ok").expect("kept");
    assert_eq!((found.used, found.revoked), (Some(at(7)), Some(at(9))));
    assert_eq!(found.expires, Some(at(500)));
}

pub async fn agents_are_remembered_with_what_they_run(store: Shared) {
    with(&store, 3, Scope::Lib).await;
    see(&*store, "b", "os=linux", 1).await;
    see(&*store, "a", "", 2).await;
    see(&*store, "b", "os=linux gpu=yes", 3).await;
    let heard = |agent: &str, now| Sighting {
        agent: agent.to_owned(),
        capabilities: None,
        now: at(now),
    };
    for agent in ["a", "unknown"] {
        store.see_agent(heard(agent, 4)).await.expect("ok");
    }
    claim_as(&*store, "b", "", 5, 2).await;
    let agents = store.agents().await.expect("ok");
    let names: Vec<&str> = agents.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((agents[0].first_seen, agents[0].seen), (at(2), at(4)));
    assert_eq!((agents[1].first_seen, agents[1].seen), (at(1), at(3)));
    assert_eq!(agents[1].capabilities.to_string(), "gpu=yes os=linux");
    assert!(agents[0].jobs.is_empty());
    let jobs: Vec<String> = agents[1].jobs.iter().map(|j| j.job.to_string()).collect();
    assert_eq!(jobs, ["c0-1.0.0 (lib)", "c1-1.0.0 (lib)"]);
    let job = &agents[1].jobs[0];
    assert_eq!((job.granted, job.progressed), (at(5), at(5)));
    assert_eq!((job.until, job.attempt), (at(5 + LEASE), 1));
    for (agent, works) in [("a", false), ("b", true), ("unknown", false)] {
        let found = store.works_on(agent, &name("e")).await;
        assert_eq!(found.expect("ok"), works, "{agent}");
    }
    let none = store.works_on("b", &name("none")).await;
    assert!(
        matches!(none, Err(StoreError::UnknownExperiment(_))),
        "{none:?}"
    );
}

pub async fn old_things_are_forgotten(store: Shared) {
    for (seed, expires) in [(1, None), (2, Some(4)), (3, Some(6)), (4, None)] {
        let (record, _) = token(seed, "read", None, expires);
        store.add_token(&record).await.expect("ok");
    }
    let (revoked, _) = token(4, "read", None, None);
    store.revoke_token(&revoked.id, at(3)).await.expect("ok");
    assert_eq!(store.prune(at(5)).await.expect("ok"), 2);
    assert_eq!(store.tokens().await.expect("ok").len(), 2);
    assert_eq!(store.prune(at(0)).await.expect("ok"), 0);
}

pub async fn figures_add_up(store: Shared) {
    let none = store.metrics().await.expect("ok");
    assert_eq!(none, ejecta_server::store::Metrics::default());
    with(&store, 4, Scope::Lib).await;
    create(&*store, &experiment("aborted", Scope::Lib), &plan(7)).await;
    let change = Change::Abort;
    let aborted = name("aborted");
    store
        .move_on(&aborted, None, change, at(1))
        .await
        .expect("ok");
    let held = claim(&*store, 0, 3).await;
    done(&store, &held.granted[0].lease).await;
    let why = Setback::Permanent("x");
    let second = &held.granted[1].lease;
    store.release(second, why, at(1)).await.expect("ok");
    see(&*store, "a", "", 1).await;
    let figures = store.metrics().await.expect("ok");
    assert_eq!((figures.queued, figures.leased), (1, 1));
    assert_eq!((figures.finished, figures.errors), (1, 1));
    assert_eq!(figures.verdicts, BTreeMap::from([(Verdict::TestPass, 1)]));
    let states = BTreeMap::from([(State::Running, 1), (State::Aborted, 1)]);
    assert_eq!(figures.experiments, states);
    assert_eq!(figures.oldest_queued, Some(at(0)));
    assert_eq!((figures.agents, figures.messages), (1, 0));
    claim(&*store, 0, 9).await;
    let figures = store.metrics().await.expect("ok");
    assert_eq!((figures.queued, figures.oldest_queued), (0, None));
}

/// Agents that claim, die, come back, fail and finish, at once and with a clock that runs: at the
/// end every job has exactly one result, and the counters are what is there.
pub async fn many_agents_at_once_lose_nothing(store: Shared) {
    const CRATES: usize = 30;
    with(&store, CRATES, Scope::All).await;
    let clock = Arc::new(AtomicI64::new(0));
    let agents: Vec<_> = (0..8_u64)
        .map(|number| {
            let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
            tokio::spawn(work(store, clock, number))
        })
        .collect();
    for agent in agents {
        agent.await.expect("no panic");
    }
    let results = all_results(&*store, &name("e")).await.expect("ok");
    let mut by_verdict = BTreeMap::<bool, u64>::new();
    for tier in results.iter().flat_map(|result| &result.tiers) {
        match &tier.state {
            JobState::Finished { .. } => *by_verdict.entry(true).or_default() += 1,
            JobState::Error { .. } => *by_verdict.entry(false).or_default() += 1,
            state => panic!("left behind: {state:?}"),
        }
    }
    let counts = store.counts(&name("e")).await.expect("ok");
    assert_eq!(counts.total(), 2 * CRATES as u64);
    assert_eq!(counts.unfinished(), 0);
    let seen = |ended| by_verdict.get(&ended).copied().unwrap_or(0);
    assert_eq!(
        (counts.finished(), counts.errors()),
        (seen(true), seen(false))
    );
    let news = store.news(&name("e"), 0, 999).await.expect("ok");
    assert_eq!(news.len() as u64, counts.finished());
    store.expire(at(1_000_000)).await.expect("ok");
    let filed = store.experiment(&name("e")).await.expect("ok");
    assert_eq!(filed.expect("kept").state, State::NeedsReport);
}

/// An agent whose fortune is a stream of numbers from its own.
async fn work(store: Shared, clock: Arc<AtomicI64>, number: u64) {
    let agent = format!("agent-{number}");
    let mut fortune = number + 1;
    loop {
        let now = clock.fetch_add(1, Ordering::SeqCst);
        let claimed = claim_as(&*store, &agent, "", now, 3).await;
        if claimed.granted.is_empty() {
            if claimed.unfinished == 0 {
                return;
            }
            // Those who died are waited for.
            clock.fetch_add(LEASE / 4, Ordering::SeqCst);
        }
        for job in claimed.granted {
            fortune = fortune
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let lease = std::slice::from_ref(&job.lease);
            match (fortune >> 33) % 10 {
                0 => {} // It dies with it.
                1 => drop(store.release(&job.lease, Setback::Unstarted, at(now)).await),
                2 => {
                    let why = Setback::Transient("bad luck");
                    store.release(&job.lease, why, at(now)).await.expect("ok");
                }
                3 => {
                    clock.fetch_add(LEASE, Ordering::SeqCst);
                    store.expire(at(now + LEASE)).await.expect("ok");
                    beat_of(&store, &agent, lease, now + LEASE).await;
                    let _ = store.submit(&job.lease, &passing(), at(now)).await;
                }
                _ => {
                    let submitted = store.submit(&job.lease, &passing(), at(now)).await;
                    submitted.expect("answers");
                    let again = store.submit(&job.lease, &record("other"), at(now)).await;
                    let again = again.expect("answers");
                    assert!(!matches!(again, Submitted::Committed(_)), "twice");
                }
            }
        }
    }
}

async fn beat_of(store: &Shared, agent: &str, leases: &[LeaseId], now: i64) {
    let beats: Vec<_> = leases.iter().map(|lease| (lease.clone(), None)).collect();
    crate::fixtures::beat_as(&**store, agent, &beats, now).await;
}
