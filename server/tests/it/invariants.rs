//! Whatever agents do, in whatever order: a model of the rules and a store agree.

use std::collections::BTreeMap;

use ejecta_core::job::{self, Holder, JobId, LeaseId, Submission, judge_submission};
use ejecta_core::mode::Scope;
use ejecta_core::outcome::JobRecord;
use ejecta_server::store::{
    Granted, JobState, Released, Setback, SqliteStore, Store, Submitted, all_results,
};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::fixtures::{LEASE, at, claim, experiment, name, plan, record};

#[derive(Debug, Clone)]
enum Action {
    Claim(usize),
    /// With any lease that was ever granted, here and below.
    Heartbeat(prop::sample::Index),
    Submit(prop::sample::Index),
    Release(prop::sample::Index, Why),
    Wait(i64),
    RequeueAll,
    /// The process dies, and another one opens the database.
    Restart,
}

#[derive(Debug, Clone, Copy)]
enum Why {
    Unstarted,
    Transient,
    Permanent,
}

fn action() -> impl Strategy<Value = Action> {
    let why = prop_oneof![
        Just(Why::Unstarted),
        Just(Why::Transient),
        Just(Why::Permanent)
    ];
    prop_oneof![
        6 => (1_usize..4).prop_map(Action::Claim),
        2 => any::<prop::sample::Index>().prop_map(Action::Heartbeat),
        4 => any::<prop::sample::Index>().prop_map(Action::Submit),
        3 => (any::<prop::sample::Index>(), why).prop_map(|(i, w)| Action::Release(i, w)),
        3 => (1..2 * LEASE).prop_map(Action::Wait),
        1 => Just(Action::RequeueAll),
        1 => Just(Action::Restart),
    ]
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Queued,
    Leased(LeaseId, i64),
    Finished(LeaseId, JobRecord),
    Error,
}

#[derive(Debug)]
struct ModelJob {
    position: usize,
    attempts: u32,
    state: State,
}

/// What the rules say, in memory.
struct Model {
    now: i64,
    jobs: BTreeMap<JobId, ModelJob>,
    /// Every lease ever granted, with its job.
    leases: Vec<(LeaseId, JobId)>,
}

impl Model {
    fn new(crates: usize) -> Self {
        let mut jobs = BTreeMap::new();
        for (position, entry) in plan(crates).into_iter().enumerate() {
            for tier in Scope::All.tiers() {
                let id = JobId {
                    krate: entry.krate.id(),
                    tier: *tier,
                };
                let job = ModelJob {
                    position,
                    attempts: 0,
                    state: State::Queued,
                };
                jobs.insert(id, job);
            }
        }
        Self {
            now: 0,
            jobs,
            leases: Vec::new(),
        }
    }

    fn pick(&self, index: &prop::sample::Index) -> Option<(LeaseId, JobId)> {
        (!self.leases.is_empty()).then(|| index.get(&self.leases).clone())
    }

    fn job(&mut self, id: &JobId) -> &mut ModelJob {
        self.jobs.get_mut(id).expect("planned")
    }

    fn holds(&mut self, lease: &LeaseId, job: &JobId) -> bool {
        matches!(&self.job(job).state, State::Leased(by, _) if by == lease)
    }

    /// Gives up what has expired for the last time; says which jobs can be granted, in order.
    fn waiting(&mut self) -> Vec<JobId> {
        let now = self.now;
        let mut waiting = Vec::new();
        for (id, job) in &mut self.jobs {
            match &job.state {
                State::Leased(_, until) if *until <= now => {
                    if job::may_retry(job.attempts) {
                        waiting.push((id.tier, job.attempts, job.position, id.clone()));
                    } else {
                        job.state = State::Error;
                    }
                }
                State::Queued => {
                    waiting.push((id.tier, job.attempts, job.position, id.clone()));
                }
                _ => {}
            }
        }
        waiting.sort();
        waiting.into_iter().map(|w| w.3).collect()
    }

    fn count(&self, is: impl Fn(&State) -> bool) -> u64 {
        self.jobs.values().filter(|job| is(&job.state)).count() as u64
    }
}

struct Tested {
    dir: TempDir,
    store: SqliteStore,
    model: Model,
}

impl Tested {
    async fn new(crates: usize) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ejecta.db");
        let store = SqliteStore::open(&path).await.expect("opens");
        store
            .create_experiment(&experiment("e", Scope::All), &plan(crates))
            .await
            .expect("created");
        Self {
            dir,
            store,
            model: Model::new(crates),
        }
    }

    async fn act(&mut self, action: &Action) {
        match action {
            Action::Claim(slots) => self.claim(*slots).await,
            Action::Heartbeat(index) => self.heartbeat(index).await,
            Action::Submit(index) => self.submit(index).await,
            Action::Release(index, why) => self.release(index, *why).await,
            Action::Wait(seconds) => self.model.now += seconds,
            Action::RequeueAll => self.requeue_all().await,
            Action::Restart => {
                let path = self.dir.path().join("ejecta.db");
                self.store = SqliteStore::open(&path).await.expect("opens again");
            }
        }
    }

    async fn claim(&mut self, slots: usize) {
        let mut expected = self.model.waiting();
        expected.truncate(slots);
        let claimed = claim(&self.store, self.model.now, slots).await;
        let jobs: Vec<JobId> = claimed.granted.iter().map(Granted::job).collect();
        assert_eq!(jobs, expected);
        let until = self.model.now + LEASE;
        for grant in claimed.granted {
            let id = grant.job();
            let job = self.model.job(&id);
            job.attempts += 1;
            assert_eq!(job.attempts, grant.attempt);
            job.state = State::Leased(grant.lease.clone(), until);
            self.model.leases.push((grant.lease, id));
        }
    }

    async fn heartbeat(&mut self, index: &prop::sample::Index) {
        let Some((lease, job)) = self.model.pick(index) else {
            return;
        };
        let until = self.model.now + LEASE;
        let leases = [lease.clone()];
        let beat = self.store.heartbeat(&leases, at(until)).await.expect("ok");
        let holds = self.model.holds(&lease, &job);
        assert_eq!(beat.extended.len(), usize::from(holds));
        assert_eq!(beat.lost.len(), usize::from(!holds));
        if holds {
            self.model.job(&job).state = State::Leased(lease, until);
        }
    }

    async fn submit(&mut self, index: &prop::sample::Index) {
        let Some((lease, id)) = self.model.pick(index) else {
            return;
        };
        // Each submission is another one, so that a result that changed would be seen.
        let record = record(&format!("{lease} at {}", self.model.now));
        let now = at(self.model.now);
        let submitted = self.store.submit(&lease, &record, now).await.expect("ok");
        let job = self.model.job(&id);
        let holder = match &job.state {
            State::Queued | State::Error => Holder::Nobody,
            State::Leased(by, _) => Holder::Lease(by.clone()),
            State::Finished(by, _) => Holder::FinishedBy(by.clone()),
        };
        match judge_submission(&holder, &lease) {
            Submission::Commit => {
                assert!(matches!(submitted, Submitted::Committed(_)));
                job.state = State::Finished(lease, record);
            }
            Submission::Repeat => assert_eq!(submitted, Submitted::Repeated),
            Submission::Stale => assert_eq!(submitted, Submitted::Stale),
        }
    }

    async fn release(&mut self, index: &prop::sample::Index, why: Why) {
        let Some((lease, id)) = self.model.pick(index) else {
            return;
        };
        let setback = match why {
            Why::Unstarted => Setback::Unstarted,
            Why::Transient => Setback::Transient("transient"),
            Why::Permanent => Setback::Permanent("permanent"),
        };
        let released = self.store.release(&lease, setback).await.expect("ok");
        if !self.model.holds(&lease, &id) {
            assert_eq!(released, Released::Stale);
            return;
        }
        let job = self.model.job(&id);
        let requeued = match why {
            Why::Unstarted => {
                job.attempts -= 1;
                true
            }
            Why::Transient => job::may_retry(job.attempts),
            Why::Permanent => false,
        };
        job.state = if requeued {
            State::Queued
        } else {
            State::Error
        };
        assert_eq!(matches!(released, Released::Requeued(_)), requeued);
        assert_eq!(matches!(released, Released::GivenUp(_)), !requeued);
    }

    async fn requeue_all(&mut self) {
        let requeued = self.store.requeue_leased(&name("e")).await.expect("ok");
        let mut expected = 0;
        for job in self.model.jobs.values_mut() {
            if matches!(job.state, State::Leased(..)) {
                job.state = State::Queued;
                job.attempts -= 1;
                expected += 1;
            }
        }
        assert_eq!(requeued, expected);
    }

    /// The counts add up, and are those of the model.
    async fn check_counts(&self) {
        let counts = self.store.counts(&name("e")).await.expect("counts");
        let model = &self.model;
        assert_eq!(counts.total(), model.jobs.len() as u64);
        let unfinished = model.count(|s| matches!(s, State::Queued | State::Leased(..)));
        assert_eq!(counts.unfinished(), unfinished);
        let finished = model.count(|s| matches!(s, State::Finished(..)));
        assert_eq!(counts.finished(), finished);
        assert_eq!(counts.errors(), model.count(|s| *s == State::Error));
    }

    /// Every job is as the model has it; a finished one has the first record that was committed.
    async fn check_results(&self) {
        let results = all_results(&self.store, &name("e")).await.expect("results");
        let mut seen = 0;
        for entry in results {
            for tier in entry.tiers {
                let id = JobId {
                    krate: entry.entry.krate.id(),
                    tier: tier.tier,
                };
                let job = &self.model.jobs[&id];
                assert_eq!(tier.attempts, job.attempts, "{id}");
                match (&tier.state, &job.state) {
                    (JobState::Queued, State::Queued)
                    | (JobState::Leased, State::Leased(..))
                    | (JobState::Error { .. }, State::Error) => {}
                    (JobState::Finished { record }, State::Finished(_, first)) => {
                        assert_eq!(**record, *first, "{id}");
                    }
                    (stored, expected) => panic!("{id} is {stored:?} and not {expected:?}"),
                }
                seen += 1;
            }
        }
        assert_eq!(seen, self.model.jobs.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_store_follows_the_rules_whatever_happens(
        actions in prop::collection::vec(action(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut tested = Tested::new(3).await;
            for action in &actions {
                tested.act(action).await;
                tested.check_counts().await;
            }
            tested.check_results().await;
        });
    }
}
