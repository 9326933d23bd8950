//! Whatever agents do, in whatever order: a model of the rules and each store agree.

use std::collections::BTreeMap;

use ejecta_core::job::{self, Holder, JobId, LeaseId, Submission, judge_submission};
use ejecta_core::lifecycle;
use ejecta_core::mode::Scope;
use ejecta_core::outcome::JobRecord;
use ejecta_core::queue::{self, AfterLoss};
use ejecta_server::store::{
    Granted, JobState, Lost, Released, Requeue, Setback, SqliteStore, Store, Submitted, all_results,
};
use ejecta_test_support::Postgres;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::fixtures::{LEASE, at, beat, claim, create, experiment, name, plan, record};

#[derive(Debug, Clone)]
enum Action {
    Claim(usize),
    /// With any lease that was ever granted, here and below.
    Heartbeat(prop::sample::Index),
    Submit(prop::sample::Index),
    Release(prop::sample::Index, Why),
    Wait(i64),
    /// Somebody sweeps.
    Expire,
    RequeueAll,
    RequeueGivenUp,
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
        2 => Just(Action::Expire),
        1 => Just(Action::RequeueAll),
        1 => Just(Action::RequeueGivenUp),
        1 => Just(Action::Restart),
    ]
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Queued,
    Leased(LeaseId, i64),
    Finished(LeaseId, Box<JobRecord>),
    Error,
}

#[derive(Debug)]
struct ModelJob {
    position: usize,
    attempts: u32,
    losses: u32,
    /// The lease that ran out while nobody else has the job.
    lapsed: Option<LeaseId>,
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
                    losses: 0,
                    lapsed: None,
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

    fn lapsed(&mut self, lease: &LeaseId, job: &JobId) -> bool {
        self.job(job).lapsed.as_ref() == Some(lease)
    }

    /// Takes away what has expired; says what was lost, in no order.
    fn expire(&mut self) -> Vec<(JobId, AfterLoss)> {
        let now = self.now;
        let mut lost = Vec::new();
        for (id, job) in &mut self.jobs {
            let State::Leased(lease, until) = &job.state else {
                continue;
            };
            if *until > now {
                continue;
            }
            job.losses += 1;
            let then = queue::after_loss(job.attempts, job.losses);
            (job.lapsed, job.state) = match then {
                AfterLoss::Requeue => (Some(lease.clone()), State::Queued),
                AfterLoss::GiveUp | AfterLoss::Quarantine => (None, State::Error),
            };
            lost.push((id.clone(), then));
        }
        lost
    }

    /// Which jobs can be granted, in order.
    fn waiting(&self) -> Vec<JobId> {
        let mut waiting: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.state == State::Queued)
            .map(|(id, job)| (id.tier, job.attempts, job.position, id.clone()))
            .collect();
        waiting.sort();
        waiting.into_iter().map(|w| w.3).collect()
    }

    fn count(&self, is: impl Fn(&State) -> bool) -> u64 {
        self.jobs.values().filter(|job| is(&job.state)).count() as u64
    }
}

/// Where a store is.
enum Place {
    Sqlite(TempDir),
    Postgres(String),
}

impl Place {
    async fn open(&self) -> Box<dyn Store> {
        match self {
            Self::Sqlite(dir) => {
                let path = dir.path().join("ejecta.db");
                Box::new(SqliteStore::open(&path).await.expect("opens"))
            }
            Self::Postgres(url) => Box::new(crate::postgres::connect(url).await),
        }
    }
}

/// What was lost is what was expected to be.
fn assert_lost(lost: Vec<Lost>, mut expected: Vec<(JobId, AfterLoss)>) {
    let mut lost: Vec<_> = lost.into_iter().map(|l| (l.job, l.then)).collect();
    lost.sort_by(|a, b| a.0.cmp(&b.0));
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(lost, expected);
}

struct Tested {
    place: Place,
    store: Box<dyn Store>,
    model: Model,
}

impl Tested {
    async fn new(place: Place, crates: usize) -> Self {
        let store = place.open().await;
        create(&*store, &experiment("e", Scope::All), &plan(crates)).await;
        Self {
            place,
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
            Action::Expire => self.expire().await,
            Action::RequeueAll => self.requeue_all().await,
            Action::RequeueGivenUp => self.requeue_given_up().await,
            Action::Restart => self.store = self.place.open().await,
        }
    }

    async fn claim(&mut self, slots: usize) {
        let lost = self.model.expire();
        let mut expected = self.model.waiting();
        expected.truncate(slots);
        let claimed = claim(&*self.store, self.model.now, slots).await;
        assert_lost(claimed.lost, lost);
        let jobs: Vec<JobId> = claimed.granted.iter().map(Granted::job).collect();
        assert_eq!(jobs, expected);
        let until = self.model.now + LEASE;
        for grant in claimed.granted {
            let id = grant.job();
            let job = self.model.job(&id);
            job.attempts += 1;
            job.lapsed = None;
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
        let beat = beat(&*self.store, &leases, self.model.now).await;
        let again = self.model.lapsed(&lease, &job);
        let holds = again || self.model.holds(&lease, &job);
        assert_eq!(beat.extended.len(), usize::from(holds));
        assert_eq!(beat.lost.len(), usize::from(!holds));
        if holds {
            let job = self.model.job(&job);
            job.losses -= u32::from(again);
            job.lapsed = None;
            job.state = State::Leased(lease, until);
        }
    }

    async fn expire(&mut self) {
        let lost = self.model.expire();
        let expired = self.store.expire(at(self.model.now)).await.expect("ok");
        assert_lost(expired.lost, lost);
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
            State::Queued => job.lapsed.clone().map_or(Holder::Nobody, Holder::Lease),
            State::Error => Holder::Nobody,
            State::Leased(by, _) => Holder::Lease(by.clone()),
            State::Finished(by, _) => Holder::FinishedBy(by.clone()),
        };
        match judge_submission(&holder, &lease) {
            Submission::Commit => {
                assert!(matches!(submitted, Submitted::Committed(_)));
                job.lapsed = None;
                job.state = State::Finished(lease, Box::new(record));
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
        let released = self
            .store
            .release(&lease, setback, at(1))
            .await
            .expect("ok");
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
        let requeued = self.store.requeue(&name("e"), Requeue::Leased, at(1)).await;
        let mut expected = 0;
        for job in self.model.jobs.values_mut() {
            if matches!(job.state, State::Leased(..)) {
                job.state = State::Queued;
                job.attempts -= 1;
                expected += 1;
            }
        }
        assert_eq!(requeued.expect("ok"), expected);
    }

    async fn requeue_given_up(&mut self) {
        let what = Requeue::GivenUp;
        let requeued = self.store.requeue(&name("e"), what, at(1)).await;
        let mut expected = 0;
        for job in self.model.jobs.values_mut() {
            if job.state == State::Error {
                job.state = State::Queued;
                (job.attempts, job.losses) = (0, 0);
                expected += 1;
            }
        }
        assert_eq!(requeued.expect("ok"), expected);
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
        let filed = self.store.experiment(&name("e")).await.expect("ok");
        let state = filed.expect("kept").state;
        if unfinished == 0 {
            assert_eq!(state, lifecycle::State::NeedsReport);
        } else {
            assert!(state.is_active(), "{state}");
        }
    }

    /// Every job is as the model has it; a finished one has the first record that was committed.
    async fn check_results(&self) {
        let results = all_results(&*self.store, &name("e"))
            .await
            .expect("results");
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
                        assert_eq!(record, first, "{id}");
                    }
                    (stored, expected) => panic!("{id} is {stored:?} and not {expected:?}"),
                }
                seen += 1;
            }
        }
        assert_eq!(seen, self.model.jobs.len());
    }
}

fn follows_the_rules(place: impl FnOnce() -> Place, actions: &[Action]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut tested = Tested::new(place(), 3).await;
        for action in actions {
            tested.act(action).await;
            tested.check_counts().await;
        }
        tested.check_results().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn sqlite_follows_the_rules_whatever_happens(
        actions in prop::collection::vec(action(), 1..40),
    ) {
        let place = || Place::Sqlite(tempfile::tempdir().expect("a directory"));
        follows_the_rules(place, &actions);
    }

    #[test]
    fn postgres_follows_the_rules_whatever_happens(
        actions in prop::collection::vec(action(), 1..40),
    ) {
        if let Some(url) = Postgres::database_or_skip() {
            follows_the_rules(|| Place::Postgres(url), &actions);
        }
    }
}
