//! What every backend of [`Store`] promises. A backend's own test file names them all by
//! [`contract_of`].

use std::collections::HashSet;
use std::sync::Arc;

use ejecta_core::job::{LeaseId, MAX_ATTEMPTS};
use ejecta_core::lifecycle::{Change, State};
use ejecta_core::mode::Scope;
use ejecta_core::queue::AfterLoss;
use ejecta_server::store::{
    Counts, Edit, ErrorClass, Filter, JobState, Loss, NewExperiment, Released, Requeue, Setback,
    Store, StoreError, Submitted, TierCounts, all_results,
};
use serde_json::json;

use crate::fixtures::{
    LEASE, at, beat, claim, create, entry, experiment, granted, leases, name, passing, plan,
    record, skipped,
};

/// Makes a test of each promise; `$open` is an async function that gives an empty store and what
/// must live as long as it, or nothing where the backend is missing.
macro_rules! contract_of {
    ($open:path: $($module:ident: $($promise:ident)+;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                if let Some((store, _guard)) = $open().await {
                    $crate::$module::$promise(store).await;
                }
            }
        )+)+
    };
    ($open:path) => {
        $crate::contract::contract_of! { $open:
            contract:
                experiments_are_kept_as_they_are
                a_name_is_taken_once
                unknown_experiments_are_errors
                jobs_are_claimed_tier_by_tier_in_order
                skipped_crates_have_no_jobs
                a_lease_is_never_granted_twice
                an_expired_lease_is_granted_anew
                a_stale_submission_is_refused
                late_work_is_welcome_until_the_job_is_granted_anew
                a_repeat_is_a_success_and_changes_nothing
                a_released_job_waits_behind_untried_ones
                an_unstarted_job_keeps_its_attempt
                a_permanent_failure_gives_the_job_up
                failures_use_attempts_up
                expiry_uses_attempts_up
                released_leases_are_stale
                all_leases_can_be_given_back
                what_was_given_up_can_be_tried_again
                heartbeats_extend_what_holds
                results_are_complete
                results_are_paged
                facts_are_kept
                concurrent_claims_never_share_a_job
                concurrent_submissions_commit_once
                a_large_plan_is_taken_in_at_once
                ;
            contract_rules:
                experiments_have_their_papers
                experiments_are_listed_in_pages
                a_large_plan_can_be_replaced
                a_command_is_carried_out_once
                the_first_grant_is_remembered
                the_first_to_settle_a_fact_decides
                what_an_agent_leaves_out_it_does_not_get
                failures_of_ours_are_listed_in_the_plans_order
                an_experiment_is_edited_until_it_starts
                a_state_is_moved_by_one
                an_experiment_lives_from_queue_to_report
                an_experiment_of_skipped_crates_ends_at_once
                abort_takes_leases_away
                a_reopened_experiment_runs_again
                priority_comes_first
                experiments_of_one_priority_take_turns
                requirements_are_met
                ;
            contract_losses:
                a_failed_job_goes_to_another_agent
                a_lapsed_lease_holds_again_until_the_job_is_granted
                late_work_is_welcome_after_a_sweep
                a_stuck_job_is_taken_away
                progress_keeps_a_job
                leases_of_others_are_not_extended
                a_job_that_kills_agents_is_quarantined
                a_job_out_of_memory_goes_to_a_larger_class
                the_largest_class_is_the_last
                leases_of_one_agent_can_be_given_back
                ;
            contract_fleet:
                verdicts_are_counted
                verdicts_are_paged_without_records
                news_are_told_once_in_order
                news_miss_nothing_while_results_come_in
                tokens_are_kept_without_their_secret
                agents_are_remembered_with_what_they_run
                old_things_are_forgotten
                figures_add_up
                many_agents_at_once_lose_nothing
                ;
        }
    };
}
pub(crate) use contract_of;

type Shared = Arc<dyn Store>;

async fn with(store: &Shared, crates: usize, scope: Scope) {
    create(&**store, &experiment("e", scope), &plan(crates)).await;
}

fn tier(tier: Scope, [queued, leased, finished, errors]: [u64; 4]) -> TierCounts {
    TierCounts {
        tier,
        queued,
        leased,
        finished,
        errors,
    }
}

async fn lib_counts(store: &Shared) -> [u64; 4] {
    let counts = store.counts(&name("e")).await.expect("counts");
    let lib = counts.tiers.first().expect("a tier");
    [lib.queued, lib.leased, lib.finished, lib.errors]
}

/// Claims the next job, which must be there.
async fn next(store: &Shared, now: i64) -> (LeaseId, u32) {
    let claimed = claim(&**store, now, 1).await;
    let job = claimed.granted.first().expect("a job waits");
    (job.lease.clone(), job.attempt)
}

async fn submit(store: &Shared, lease: &LeaseId, mark: &str) -> Submitted {
    store
        .submit(lease, &record(mark), at(1))
        .await
        .expect("answers")
}

/// The marks of all results, in order.
async fn marks(store: &Shared) -> Vec<String> {
    let results = all_results(&**store, &name("e")).await.expect("results");
    let states = results.into_iter().flat_map(|r| r.tiers).map(|t| t.state);
    states
        .filter_map(|state| match state {
            JobState::Finished { record } => Some(record.unprepared?.message().to_owned()),
            _ => None,
        })
        .collect()
}

pub async fn experiments_are_kept_as_they_are(store: Shared) {
    let one = experiment("one", Scope::All);
    let entries = vec![entry("b"), skipped("x"), entry("a")];
    create(&*store, &one, &entries).await;
    let two = experiment("two", Scope::Lib);
    create(&*store, &two, &[]).await;
    let found = store.experiment(&name("one")).await.expect("ok");
    let found = found.expect("kept");
    assert_eq!((&found.experiment, found.state), (&one, State::Queued));
    assert_eq!((found.since, found.priority), (one.created, 0));
    assert_eq!((found.parent, found.snapshot), (None, None));
    assert_eq!(store.experiment(&name("three")).await.expect("ok"), None);
    let all = store.experiments(&Filter::ALL).await.expect("ok");
    let all: Vec<_> = all.into_iter().map(|filed| filed.experiment).collect();
    assert_eq!(all, [one, two]);
    assert_eq!(store.plan(&name("one")).await.expect("ok"), entries);
    assert_eq!(store.plan(&name("two")).await.expect("ok"), []);
}

pub async fn a_name_is_taken_once(store: Shared) {
    with(&store, 2, Scope::Lib).await;
    let error = store
        .create(&NewExperiment::plain(
            &experiment("e", Scope::All),
            &plan(5),
        ))
        .await
        .expect_err("taken");
    assert!(matches!(error, StoreError::ExperimentExists(_)), "{error}");
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert_eq!(store.plan(&name("e")).await.expect("ok").len(), 2);
    assert_eq!(lib_counts(&store).await, [2, 0, 0, 0]);
}

pub async fn unknown_experiments_are_errors(store: Shared) {
    let none = name("none");
    let errors = [
        store.plan(&none).await.err(),
        store.counts(&none).await.err(),
        store.results(&none, 0, 10).await.err(),
        store.verdicts(&none, 0, 10).await.err(),
        store.verdict_counts(&none).await.err(),
        store.news(&none, 0, 10).await.err(),
        store.edit(&none, &Edit::default(), at(1)).await.err(),
        store.move_on(&none, None, Change::Abort, at(1)).await.err(),
        store.requeue(&none, Requeue::Leased, at(1)).await.err(),
        store.requeue(&none, Requeue::GivenUp, at(1)).await.err(),
        store.set_fact(&none, "k", &json!(1)).await.err(),
        store.facts(&none).await.err(),
    ];
    for error in errors {
        let error = error.expect("an error");
        assert!(matches!(error, StoreError::UnknownExperiment(_)), "{error}");
    }
}

pub async fn jobs_are_claimed_tier_by_tier_in_order(store: Shared) {
    with(&store, 3, Scope::All).await;
    let first = claim(&*store, 0, 2).await;
    assert_eq!(granted(&first), ["c0 lib", "c1 lib"]);
    assert_eq!((first.unfinished, first.lost.len()), (6, 0));
    let rest = claim(&*store, 0, 9).await;
    assert_eq!(granted(&rest), ["c2 lib", "c0 all", "c1 all", "c2 all"]);
    let none = claim(&*store, 0, 9).await;
    assert_eq!((granted(&none).len(), none.unfinished), (0, 6));
    let leases: HashSet<_> = first
        .granted
        .iter()
        .chain(&rest.granted)
        .collect::<Vec<_>>()
        .into_iter()
        .map(|g| &g.lease)
        .collect();
    assert_eq!(leases.len(), 6);
}

pub async fn skipped_crates_have_no_jobs(store: Shared) {
    let mut quiet = entry("quiet");
    quiet.options.quiet = true;
    create(
        &*store,
        &experiment("e", Scope::Lib),
        &[skipped("x"), quiet, skipped("y")],
    )
    .await;
    let claimed = claim(&*store, 0, 9).await;
    assert_eq!(granted(&claimed), ["quiet lib"]);
    assert!(claimed.granted[0].options.quiet);
    let results = all_results(&*store, &name("e")).await.expect("results");
    let tiers: Vec<usize> = results.iter().map(|r| r.tiers.len()).collect();
    assert_eq!(tiers, [0, 1, 0]);
}

pub async fn a_lease_is_never_granted_twice(store: Shared) {
    with(&store, 1, Scope::Lib).await;
    next(&store, 0).await;
    for second in [0, 1, LEASE - 1] {
        assert_eq!(claim(&*store, second, 5).await.granted, []);
    }
    assert_eq!(lib_counts(&store).await, [0, 1, 0, 0]);
}

pub async fn an_expired_lease_is_granted_anew(store: Shared) {
    with(&store, 2, Scope::Lib).await;
    let (first, _) = next(&store, 0).await;
    let anew = claim(&*store, LEASE, 5).await;
    assert_eq!(granted(&anew), ["c1 lib", "c0 lib #2"]);
    assert_ne!(anew.granted[1].lease, first);
    let [lost] = anew.lost.as_slice() else {
        panic!("one lease is lost: {:?}", anew.lost);
    };
    assert_eq!((lost.attempt, lost.then), (1, AfterLoss::Requeue));
    assert_eq!(lost.why, Loss::Silent);
    assert_eq!(
        (lost.agent.as_str(), lost.job.krate.as_str()),
        ("tester", "c0-1.0.0")
    );
    assert_eq!(store.leased_job(&first).await.expect("ok"), None);
}

pub async fn a_stale_submission_is_refused(store: Shared) {
    with(&store, 1, Scope::Lib).await;
    let never = &leases(1)[0];
    assert_eq!(
        submit(&store, never, "never granted").await,
        Submitted::Stale
    );
    let (stale, _) = next(&store, 0).await;
    let (current, _) = next(&store, LEASE).await;
    assert_eq!(submit(&store, &stale, "stale").await, Submitted::Stale);
    assert_eq!(lib_counts(&store).await, [0, 1, 0, 0]);
    let committed = submit(&store, &current, "current").await;
    assert!(matches!(committed, Submitted::Committed(_)));
    assert_eq!(submit(&store, &stale, "stale").await, Submitted::Stale);
    assert_eq!(marks(&store).await, ["current"]);
}

pub async fn late_work_is_welcome_until_the_job_is_granted_anew(store: Shared) {
    with(&store, 2, Scope::Lib).await;
    let (late, _) = next(&store, 0).await;
    // Somebody else asks after the lease has ended, and gets the untried job.
    assert_eq!(granted(&claim(&*store, LEASE + 5, 1).await), ["c1 lib"]);
    let committed = submit(&store, &late, "late").await;
    assert!(matches!(committed, Submitted::Committed(_)));
    assert_eq!(claim(&*store, LEASE + 5, 1).await.granted, []);
}

pub async fn a_repeat_is_a_success_and_changes_nothing(store: Shared) {
    with(&store, 2, Scope::Lib).await;
    let (lease, _) = next(&store, 0).await;
    let committed = submit(&store, &lease, "first").await;
    let counts = Counts {
        tiers: vec![tier(Scope::Lib, [1, 0, 1, 0])],
    };
    assert_eq!(committed, Submitted::Committed(counts));
    for _ in 0..3 {
        assert_eq!(submit(&store, &lease, "second").await, Submitted::Repeated);
    }
    assert_eq!(marks(&store).await, ["first"]);
    assert_eq!(lib_counts(&store).await, [1, 0, 1, 0]);
    let job = store.leased_job(&lease).await.expect("ok").expect("known");
    assert!(job.finished);
    assert_eq!((job.attempt, job.agent.as_str()), (1, "tester"));
}

pub async fn a_released_job_waits_behind_untried_ones(store: Shared) {
    with(&store, 2, Scope::All).await;
    let (lease, _) = next(&store, 0).await;
    let released = store
        .release(&lease, Setback::Transient("docker went away"), at(1))
        .await
        .expect("ok");
    assert!(matches!(released, Released::Requeued(_)));
    let order = granted(&claim(&*store, 0, 9).await);
    assert_eq!(order, ["c1 lib", "c0 lib #2", "c0 all", "c1 all"]);
}

pub async fn an_unstarted_job_keeps_its_attempt(store: Shared) {
    with(&store, 1, Scope::Lib).await;
    for _ in 0..MAX_ATTEMPTS + 2 {
        let (lease, attempt) = next(&store, 0).await;
        assert_eq!(attempt, 1);
        let released = store
            .release(&lease, Setback::Unstarted, at(1))
            .await
            .expect("ok");
        assert!(matches!(released, Released::Requeued(_)));
    }
    assert_eq!(lib_counts(&store).await, [1, 0, 0, 0]);
}

pub async fn a_permanent_failure_gives_the_job_up(store: Shared) {
    with(&store, 1, Scope::Lib).await;
    let (lease, _) = next(&store, 0).await;
    let released = store
        .release(&lease, Setback::Permanent("no such toolchain"), at(1))
        .await
        .expect("ok");
    let counts = Counts {
        tiers: vec![tier(Scope::Lib, [0, 0, 0, 1])],
    };
    assert_eq!(released, Released::GivenUp(counts));
    assert_eq!(
        error_of_c0(&store).await,
        ("no such toolchain".to_owned(), 1)
    );
    assert_eq!(claim(&*store, LEASE, 1).await.unfinished, 0);
    assert_eq!(submit(&store, &lease, "too late").await, Submitted::Stale);
}

/// The message and attempts of the only job, which has been given up.
async fn error_of_c0(store: &Shared) -> (String, u32) {
    let mut results = all_results(&**store, &name("e")).await.expect("results");
    let tier = results.remove(0).tiers.remove(0);
    match tier.state {
        JobState::Error { message } => (message, tier.attempts),
        other => panic!("given up, and not {other:?}"),
    }
}

pub async fn failures_use_attempts_up(store: Shared) {
    with(&store, 1, Scope::Lib).await;
    for expected in 1..=MAX_ATTEMPTS {
        let (lease, attempt) = next(&store, 0).await;
        assert_eq!(attempt, expected);
        let error = format!("failure {attempt}");
        let released = store
            .release(&lease, Setback::Transient(&error), at(1))
            .await
            .expect("ok");
        let last = attempt == MAX_ATTEMPTS;
        assert_eq!(matches!(released, Released::GivenUp(_)), last);
    }
    let (message, attempts) = error_of_c0(&store).await;
    assert_eq!((message.as_str(), attempts), ("failure 3", MAX_ATTEMPTS));
}

pub async fn expiry_uses_attempts_up(store: Shared) {
    with(&store, 1, Scope::Lib).await;
    let mut now = 0;
    for expected in 1..=MAX_ATTEMPTS {
        assert_eq!(next(&store, now).await.1, expected);
        now += LEASE;
    }
    let last = claim(&*store, now, 1).await;
    assert_eq!((last.granted.len(), last.unfinished), (0, 0));
    assert_eq!(last.lost[0].then, AfterLoss::Quarantine);
    assert_eq!(last.lost[0].attempt, MAX_ATTEMPTS);
    let (message, attempts) = error_of_c0(&store).await;
    assert_eq!(
        message,
        "quarantined: 3 agents fell silent while they had it (`tester`)"
    );
    assert_eq!(attempts, MAX_ATTEMPTS);
    assert_eq!(claim(&*store, now, 1).await.lost, []);
}

pub async fn released_leases_are_stale(store: Shared) {
    with(&store, 1, Scope::Lib).await;
    let (lease, _) = next(&store, 0).await;
    store
        .release(&lease, Setback::Unstarted, at(1))
        .await
        .expect("ok");
    let again = store.release(&lease, Setback::Permanent("x"), at(1)).await;
    assert_eq!(again.expect("ok"), Released::Stale);
    assert_eq!(submit(&store, &lease, "stale").await, Submitted::Stale);
    let (lease, _) = next(&store, 0).await;
    submit(&store, &lease, "done").await;
    let finished = store.release(&lease, Setback::Permanent("x"), at(1)).await;
    assert_eq!(finished.expect("ok"), Released::Stale);
    assert_eq!(lib_counts(&store).await, [0, 0, 1, 0]);
}

pub async fn what_was_given_up_can_be_tried_again(store: Shared) {
    with(&store, 3, Scope::Lib).await;
    create(&*store, &experiment("other", Scope::Lib), &plan(1)).await;
    let held = claim(&*store, 0, 9).await;
    assert_eq!(held.granted.len(), 4);
    let lease = |n: usize| held.granted[n].lease.clone();
    submit(&store, &lease(0), "done").await;
    for n in [1, 3] {
        let released = store
            .release(&lease(n), Setback::Permanent("x"), at(1))
            .await;
        assert!(matches!(released, Ok(Released::GivenUp(_))));
    }
    assert_eq!(lib_counts(&store).await, [0, 1, 1, 1]);
    let requeued = store.requeue(&name("e"), Requeue::GivenUp, at(1)).await;
    assert_eq!(requeued.expect("ok"), 1);
    assert_eq!(lib_counts(&store).await, [1, 1, 1, 0]);
    let requeued = store.requeue(&name("e"), Requeue::GivenUp, at(1)).await;
    assert_eq!(requeued.expect("ok"), 0);
    let other = store.counts(&name("other")).await.expect("ok");
    assert_eq!(other.tiers, [tier(Scope::Lib, [0, 0, 0, 1])]);
    // It has all its attempts again, and its old lease has nothing to say.
    assert_eq!(submit(&store, &lease(1), "late").await, Submitted::Stale);
    let again = claim(&*store, 0, 9).await;
    assert_eq!(granted(&again), ["c1 lib"]);
    assert_eq!(again.granted[0].attempt, 1);
}

pub async fn all_leases_can_be_given_back(store: Shared) {
    with(&store, 3, Scope::Lib).await;
    create(&*store, &experiment("other", Scope::Lib), &plan(1)).await;
    let (done, _) = next(&store, 0).await;
    submit(&store, &done, "done").await;
    let held = claim(&*store, 0, 9).await;
    assert_eq!(held.granted.len(), 3);
    assert_eq!(
        store
            .requeue(&name("e"), Requeue::Leased, at(1))
            .await
            .expect("ok"),
        2
    );
    assert_eq!(
        store
            .requeue(&name("e"), Requeue::Leased, at(1))
            .await
            .expect("ok"),
        0
    );
    assert_eq!(lib_counts(&store).await, [2, 0, 1, 0]);
    let other = store.counts(&name("other")).await.expect("ok");
    assert_eq!(other.tiers, [tier(Scope::Lib, [0, 1, 0, 0])]);
    let dead = &held.granted[0].lease;
    assert_eq!(submit(&store, dead, "dead").await, Submitted::Stale);
    assert_eq!(granted(&claim(&*store, 0, 9).await), ["c1 lib", "c2 lib"]);
}

pub async fn heartbeats_extend_what_holds(store: Shared) {
    with(&store, 3, Scope::Lib).await;
    let held = claim(&*store, 0, 3).await;
    let [alive, done, released] = [0, 1, 2].map(|n| held.granted[n].lease.clone());
    submit(&store, &done, "done").await;
    let gone = store
        .release(&released, Setback::Permanent("x"), at(1))
        .await;
    assert!(gone.is_ok());
    let never = leases(1).remove(0);
    let all = [&alive, &done, &released, &never].map(LeaseId::clone);
    // Even after its end, as long as nobody else has the job.
    let beat = beat(&*store, &all, 2 * LEASE).await;
    assert_eq!(beat.extended, [alive]);
    assert_eq!(beat.lost, [done, released, never]);
    assert_eq!(claim(&*store, 3 * LEASE - 1, 9).await.granted, []);
    assert_eq!(granted(&claim(&*store, 3 * LEASE, 9).await), ["c0 lib #2"]);
    let beat = crate::fixtures::beat(&*store, &[], 0).await;
    assert_eq!((beat.extended, beat.lost), (vec![], vec![]));
}

pub async fn results_are_complete(store: Shared) {
    with(&store, 3, Scope::All).await;
    let held = claim(&*store, 0, 5).await;
    let lease = |n: usize| &held.granted[n].lease;
    store.submit(lease(0), &passing(), at(1)).await.expect("ok");
    let why = Setback::Permanent("no disk");
    store.release(lease(1), why, at(1)).await.expect("ok");
    let results = all_results(&*store, &name("e")).await.expect("results");
    let entries: Vec<_> = results.iter().map(|r| r.entry.clone()).collect();
    assert_eq!(entries, plan(3));
    let states: Vec<Vec<(Scope, u32, JobState)>> = results
        .into_iter()
        .map(|r| {
            r.tiers
                .into_iter()
                .map(|t| (t.tier, t.attempts, t.state))
                .collect()
        })
        .collect();
    let finished = JobState::Finished {
        record: Box::new(passing()),
    };
    let error = JobState::Error {
        message: "no disk".to_owned(),
    };
    assert_eq!(
        states,
        [
            vec![(Scope::Lib, 1, finished), (Scope::All, 1, JobState::Leased)],
            vec![(Scope::Lib, 1, error), (Scope::All, 1, JobState::Leased)],
            vec![
                (Scope::Lib, 1, JobState::Leased),
                (Scope::All, 0, JobState::Queued)
            ],
        ]
    );
    let counts = store.counts(&name("e")).await.expect("ok");
    assert_eq!(
        counts.tiers,
        [
            tier(Scope::Lib, [0, 1, 1, 1]),
            tier(Scope::All, [1, 2, 0, 0])
        ]
    );
    assert_eq!((counts.total(), counts.unfinished()), (6, 4));
    assert_eq!((counts.finished(), counts.errors()), (1, 1));
}

pub async fn results_are_paged(store: Shared) {
    with(&store, 5, Scope::All).await;
    let page = async |from, limit| -> Vec<String> {
        let page = store.results(&name("e"), from, limit).await.expect("ok");
        assert!(page.iter().all(|r| r.tiers.len() == 2));
        page.iter()
            .map(|r| r.entry.krate.name.to_string())
            .collect()
    };
    assert_eq!(page(0, 2).await, ["c0", "c1"]);
    assert_eq!(page(2, 2).await, ["c2", "c3"]);
    assert_eq!(page(4, 2).await, ["c4"]);
    for (from, limit) in [(5, 2), (u64::MAX, u32::MAX), (0, 0)] {
        assert_eq!(page(from, limit).await, Vec::<String>::new());
    }
}

pub async fn facts_are_kept(store: Shared) {
    with(&store, 0, Scope::Lib).await;
    let e = name("e");
    assert!(store.facts(&e).await.expect("ok").is_empty());
    for value in [json!("docker"), json!({"name": "native", "n": [1, null]})] {
        store.set_fact(&e, "sandbox", &value).await.expect("ok");
    }
    store
        .set_fact(&e, "started", &json!(null))
        .await
        .expect("ok");
    let facts = store.facts(&e).await.expect("ok");
    assert_eq!(facts.len(), 2);
    assert_eq!(facts["sandbox"], json!({"name": "native", "n": [1, null]}));
    assert_eq!(facts["started"], json!(null));
}

pub async fn concurrent_claims_never_share_a_job(store: Shared) {
    with(&store, 40, Scope::All).await;
    let claimers: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut jobs = Vec::new();
                loop {
                    let claimed = claim(&*store, 0, 3).await;
                    if claimed.granted.is_empty() {
                        return jobs;
                    }
                    jobs.extend(claimed.granted.iter().map(|g| (g.job(), g.attempt)));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.expect("no panic"));
    }
    assert_eq!(all.len(), 80);
    assert!(all.iter().all(|(_, attempt)| *attempt == 1));
    let jobs: HashSet<_> = all.into_iter().map(|(job, _)| job).collect();
    assert_eq!(jobs.len(), 80);
}

pub async fn concurrent_submissions_commit_once(store: Shared) {
    with(&store, 1, Scope::Lib).await;
    let (lease, _) = next(&store, 0).await;
    let submitters: Vec<_> = (0..8)
        .map(|n| {
            let (store, lease) = (Arc::clone(&store), lease.clone());
            tokio::spawn(async move { submit(&store, &lease, &format!("{n}")).await })
        })
        .collect();
    let mut committed = 0;
    for submitter in submitters {
        match submitter.await.expect("no panic") {
            Submitted::Committed(_) => committed += 1,
            Submitted::Repeated => {}
            Submitted::Stale => panic!("the lease holds"),
        }
    }
    assert_eq!(committed, 1);
    assert_eq!(marks(&store).await.len(), 1);
}

pub async fn a_large_plan_is_taken_in_at_once(store: Shared) {
    with(&store, 12_001, Scope::All).await;
    let counts = store.counts(&name("e")).await.expect("ok");
    assert_eq!(counts.total(), 24_002);
    assert_eq!(store.plan(&name("e")).await.expect("ok").len(), 12_001);
    assert_eq!(claim(&*store, 0, 1).await.unfinished, 24_002);
}
