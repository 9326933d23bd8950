//! A store whose calls are timed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::LeaseId;
use ejecta_core::lifecycle::{Change, State};
use ejecta_core::outcome::JobRecord;
use ejecta_core::plan::PlanEntry;
use jiff::Timestamp;
use tracing::Instrument as _;

use super::{
    AgentRecord, Beats, Claim, Claimed, Counts, Edit, EditEnd, EntryResult, EntryVerdicts, Expired,
    Failure, Filed, Filter, Heartbeat, LeasedJob, Metrics, Moved, NewExperiment, News, Released,
    Requeue, Setback, Sighting, Store, StoreError, Submitted, TokenRecord, VerdictCounts,
};
use crate::watch::Telemetry;

/// Passes every call on, and tells how long it took.
pub struct Measured {
    store: Arc<dyn Store>,
    telemetry: Arc<Telemetry>,
}

impl Measured {
    /// `store`, timed into `telemetry`.
    pub fn new(store: Arc<dyn Store>, telemetry: Arc<Telemetry>) -> Self {
        Self { store, telemetry }
    }
}

/// Passes one call on.
macro_rules! timed {
    ($self:ident.$verb:ident($($argument:expr),*)) => {{
        let begun = Instant::now();
        let span = tracing::info_span!("store", otel.name = concat!("store ", stringify!($verb)));
        let ended = $self.store.$verb($($argument),*).instrument(span).await;
        let error = ended.as_ref().err();
        $self.telemetry.store_call(stringify!($verb), begun.elapsed(), error);
        ended
    }};
}

#[async_trait]
impl Store for Measured {
    async fn create(&self, new: &NewExperiment<'_>) -> Result<(), StoreError> {
        timed!(self.create(new))
    }

    async fn experiment(&self, name: &ExperimentName) -> Result<Option<Filed>, StoreError> {
        timed!(self.experiment(name))
    }

    async fn experiments(&self, filter: &Filter<'_>) -> Result<Vec<Filed>, StoreError> {
        timed!(self.experiments(filter))
    }

    async fn plan(&self, name: &ExperimentName) -> Result<Vec<PlanEntry>, StoreError> {
        timed!(self.plan(name))
    }

    async fn edit(
        &self,
        name: &ExperimentName,
        edit: &Edit<'_>,
        now: Timestamp,
    ) -> Result<EditEnd, StoreError> {
        timed!(self.edit(name, edit, now))
    }

    async fn move_on(
        &self,
        name: &ExperimentName,
        from: Option<State>,
        change: Change,
        now: Timestamp,
    ) -> Result<Moved, StoreError> {
        timed!(self.move_on(name, from, change, now))
    }

    async fn commanded(&self, key: &str) -> Result<Option<ExperimentName>, StoreError> {
        timed!(self.commanded(key))
    }

    async fn remember_command(
        &self,
        key: &str,
        name: &ExperimentName,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        timed!(self.remember_command(key, name, now))
    }

    async fn set_fact(
        &self,
        name: &ExperimentName,
        key: &str,
        value: &serde_json::Value,
    ) -> Result<(), StoreError> {
        timed!(self.set_fact(name, key, value))
    }

    async fn settle_fact(
        &self,
        name: &ExperimentName,
        key: &str,
        value: &serde_json::Value,
    ) -> Result<serde_json::Value, StoreError> {
        timed!(self.settle_fact(name, key, value))
    }

    async fn fact(
        &self,
        name: &ExperimentName,
        key: &str,
    ) -> Result<Option<serde_json::Value>, StoreError> {
        timed!(self.fact(name, key))
    }

    async fn facts(
        &self,
        name: &ExperimentName,
    ) -> Result<BTreeMap<String, serde_json::Value>, StoreError> {
        timed!(self.facts(name))
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        timed!(self.claim(claim))
    }

    async fn heartbeat(&self, beats: Beats) -> Result<Heartbeat, StoreError> {
        timed!(self.heartbeat(beats))
    }

    async fn works_on(&self, agent: &str, name: &ExperimentName) -> Result<bool, StoreError> {
        timed!(self.works_on(agent, name))
    }

    async fn leased_job(&self, lease: &LeaseId) -> Result<Option<LeasedJob>, StoreError> {
        timed!(self.leased_job(lease))
    }

    async fn submit(
        &self,
        lease: &LeaseId,
        record: &JobRecord,
        now: Timestamp,
    ) -> Result<Submitted, StoreError> {
        timed!(self.submit(lease, record, now))
    }

    async fn release(
        &self,
        lease: &LeaseId,
        why: Setback<'_>,
        now: Timestamp,
    ) -> Result<Released, StoreError> {
        timed!(self.release(lease, why, now))
    }

    async fn expire(&self, now: Timestamp) -> Result<Expired, StoreError> {
        timed!(self.expire(now))
    }

    async fn requeue(
        &self,
        name: &ExperimentName,
        what: Requeue<'_>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        timed!(self.requeue(name, what, now))
    }

    async fn counts(&self, name: &ExperimentName) -> Result<Counts, StoreError> {
        timed!(self.counts(name))
    }

    async fn verdict_counts(&self, name: &ExperimentName) -> Result<VerdictCounts, StoreError> {
        timed!(self.verdict_counts(name))
    }

    async fn results(
        &self,
        name: &ExperimentName,
        from: u64,
        limit: u32,
    ) -> Result<Vec<EntryResult>, StoreError> {
        timed!(self.results(name, from, limit))
    }

    async fn verdicts(
        &self,
        name: &ExperimentName,
        from: u64,
        limit: u32,
    ) -> Result<Vec<EntryVerdicts>, StoreError> {
        timed!(self.verdicts(name, from, limit))
    }

    async fn news(
        &self,
        name: &ExperimentName,
        after: i64,
        limit: u32,
    ) -> Result<Vec<News>, StoreError> {
        timed!(self.news(name, after, limit))
    }

    async fn newest(&self, name: &ExperimentName) -> Result<i64, StoreError> {
        timed!(self.newest(name))
    }

    async fn failures(
        &self,
        name: &ExperimentName,
        limit: u32,
    ) -> Result<Vec<Failure>, StoreError> {
        timed!(self.failures(name, limit))
    }

    async fn add_token(&self, token: &TokenRecord) -> Result<bool, StoreError> {
        timed!(self.add_token(token))
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>, StoreError> {
        timed!(self.token(id))
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        timed!(self.tokens())
    }

    async fn revoke_token(&self, id: &str, now: Timestamp) -> Result<bool, StoreError> {
        timed!(self.revoke_token(id, now))
    }

    async fn touch_token(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        timed!(self.touch_token(id, now))
    }

    async fn see_agent(&self, sighting: Sighting) -> Result<(), StoreError> {
        timed!(self.see_agent(sighting))
    }

    async fn agents(&self) -> Result<Vec<AgentRecord>, StoreError> {
        timed!(self.agents())
    }

    async fn metrics(&self) -> Result<Metrics, StoreError> {
        timed!(self.metrics())
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        timed!(self.prune(before))
    }
}
