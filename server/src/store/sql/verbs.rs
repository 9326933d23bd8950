//! The verbs of the store, each a transaction of this backend.

use std::collections::BTreeMap;

use async_trait::async_trait;
use ejecta_core::compare;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::LeaseId;
use ejecta_core::lifecycle::{Change, State};
use ejecta_core::outcome::JobRecord;
use ejecta_core::plan::PlanEntry;
use jiff::Timestamp;

use super::work::{Submitting, Touching};
use super::{Backend, counters, experiment_id, experiments, fleet, leases, outbox, results};
use crate::store::{
    AgentRecord, Beats, Claim, Claimed, Counts, Edit, EditEnd, EntryResult, EntryVerdicts, Expired,
    Failure, Filed, Filter, Heartbeat, LeasedJob, Metrics, Moved, NewExperiment, News, Released,
    Requeue, Setback, Sighting, Store, StoreError, Submitted, TokenRecord, VerdictCounts, codec,
};

/// Runs a transaction that writes; again, if it was taken back because of others.
macro_rules! writing {
    ($store:expr, |$db:ident| $work:expr) => {{
        let mut tries = 1;
        loop {
            let tried = async {
                let mut $db = $store.write().await?;
                let done = $work.await?;
                $db.commit().await?;
                Ok(done)
            };
            match tried.await {
                Err(StoreError::Conflict { .. }) if tries < $crate::store::TRIES => tries += 1,
                ended => break ended,
            }
        }
    }};
}

/// Reads.
macro_rules! reading {
    ($store:expr, |$db:ident| $work:expr) => {{
        let mut $db = $store.read().await?;
        $work.await
    }};
}

pub(super) use {reading, writing};

#[async_trait]
impl Store for Backend {
    async fn create(&self, new: &NewExperiment<'_>) -> Result<(), StoreError> {
        writing!(self, |db| experiments::create(&mut db, new))
    }

    async fn experiment(&self, name: &ExperimentName) -> Result<Option<Filed>, StoreError> {
        reading!(self, |db| experiments::find(&mut db, name))
    }

    async fn experiments(&self, filter: &Filter<'_>) -> Result<Vec<Filed>, StoreError> {
        reading!(self, |db| experiments::list(&mut db, filter))
    }

    async fn plan(&self, name: &ExperimentName) -> Result<Vec<PlanEntry>, StoreError> {
        reading!(self, |db| experiments::plan(&mut db, name))
    }

    async fn edit(
        &self,
        name: &ExperimentName,
        edit: &Edit<'_>,
        now: Timestamp,
    ) -> Result<EditEnd, StoreError> {
        writing!(self, |db| experiments::edit(&mut db, name, edit, now))
    }

    async fn move_on(
        &self,
        name: &ExperimentName,
        from: Option<State>,
        change: Change,
        now: Timestamp,
    ) -> Result<Moved, StoreError> {
        writing!(self, |db| experiments::move_on(
            &mut db, name, from, change, now
        ))
    }

    async fn commanded(&self, key: &str) -> Result<Option<ExperimentName>, StoreError> {
        reading!(self, |db| experiments::commanded(&mut db, key))
    }

    async fn remember_command(
        &self,
        key: &str,
        name: &ExperimentName,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        writing!(self, |db| async {
            let id = experiment_id(&mut db, name).await?;
            experiments::remember_command(&mut db, key, id, now).await
        })
    }

    async fn set_fact(
        &self,
        name: &ExperimentName,
        key: &str,
        value: &serde_json::Value,
    ) -> Result<(), StoreError> {
        writing!(self, |db| experiments::set_fact(&mut db, name, key, value))
    }

    async fn settle_fact(
        &self,
        name: &ExperimentName,
        key: &str,
        value: &serde_json::Value,
    ) -> Result<serde_json::Value, StoreError> {
        writing!(self, |db| experiments::settle_fact(
            &mut db, name, key, value
        ))
    }

    async fn fact(
        &self,
        name: &ExperimentName,
        key: &str,
    ) -> Result<Option<serde_json::Value>, StoreError> {
        reading!(self, |db| experiments::fact(&mut db, name, key))
    }

    async fn facts(
        &self,
        name: &ExperimentName,
    ) -> Result<BTreeMap<String, serde_json::Value>, StoreError> {
        reading!(self, |db| experiments::facts(&mut db, name))
    }

    async fn claim(&self, request: Claim) -> Result<Claimed, StoreError> {
        self.change(request).await
    }

    async fn heartbeat(&self, beats: Beats) -> Result<Heartbeat, StoreError> {
        self.change(beats).await
    }

    async fn works_on(&self, agent: &str, name: &ExperimentName) -> Result<bool, StoreError> {
        reading!(self, |db| leases::works_on(&mut db, agent, name))
    }

    async fn leased_job(&self, lease: &LeaseId) -> Result<Option<LeasedJob>, StoreError> {
        reading!(self, |db| leases::leased_job(&mut db, lease))
    }

    async fn submit(
        &self,
        lease: &LeaseId,
        record: &JobRecord,
        now: Timestamp,
    ) -> Result<Submitted, StoreError> {
        let verdict = compare::judge_job(record).verdict;
        let record = codec::pack(record)?;
        let work = Submitting {
            lease: lease.clone(),
            record,
            verdict,
            now,
        };
        self.change(work).await
    }

    async fn release(
        &self,
        lease: &LeaseId,
        why: Setback<'_>,
        now: Timestamp,
    ) -> Result<Released, StoreError> {
        writing!(self, |db| leases::release(&mut db, lease, why, now))
    }

    async fn expire(&self, now: Timestamp) -> Result<Expired, StoreError> {
        writing!(self, |db| leases::expire(&mut db, now))
    }

    async fn requeue(
        &self,
        name: &ExperimentName,
        what: Requeue<'_>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        writing!(self, |db| experiments::requeue(&mut db, name, what, now))
    }

    async fn counts(&self, name: &ExperimentName) -> Result<Counts, StoreError> {
        reading!(self, |db| async {
            let id = experiment_id(&mut db, name).await?;
            counters::counts(&mut db, id).await
        })
    }

    async fn verdict_counts(&self, name: &ExperimentName) -> Result<VerdictCounts, StoreError> {
        reading!(self, |db| async {
            let id = experiment_id(&mut db, name).await?;
            counters::verdict_counts(&mut db, id).await
        })
    }

    async fn results(
        &self,
        name: &ExperimentName,
        from: u64,
        limit: u32,
    ) -> Result<Vec<EntryResult>, StoreError> {
        reading!(self, |db| async {
            let id = experiment_id(&mut db, name).await?;
            results::page(&mut db, id, from, limit).await
        })
    }

    async fn verdicts(
        &self,
        name: &ExperimentName,
        from: u64,
        limit: u32,
    ) -> Result<Vec<EntryVerdicts>, StoreError> {
        reading!(self, |db| async {
            let id = experiment_id(&mut db, name).await?;
            results::verdicts(&mut db, id, from, limit).await
        })
    }

    async fn news(
        &self,
        name: &ExperimentName,
        after: i64,
        limit: u32,
    ) -> Result<Vec<News>, StoreError> {
        reading!(self, |db| async {
            let id = experiment_id(&mut db, name).await?;
            results::news(&mut db, id, after, limit).await
        })
    }

    async fn newest(&self, name: &ExperimentName) -> Result<i64, StoreError> {
        reading!(self, |db| async {
            let id = experiment_id(&mut db, name).await?;
            results::newest(&mut db, id).await
        })
    }

    async fn failures(
        &self,
        name: &ExperimentName,
        limit: u32,
    ) -> Result<Vec<Failure>, StoreError> {
        reading!(self, |db| async {
            let id = experiment_id(&mut db, name).await?;
            results::failures(&mut db, id, limit).await
        })
    }

    async fn add_token(&self, token: &TokenRecord) -> Result<bool, StoreError> {
        writing!(self, |db| fleet::add_token(&mut db, token))
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>, StoreError> {
        reading!(self, |db| fleet::token(&mut db, id))
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        reading!(self, |db| fleet::tokens(&mut db))
    }

    async fn revoke_token(&self, id: &str, now: Timestamp) -> Result<bool, StoreError> {
        writing!(self, |db| fleet::revoke_token(&mut db, id, now))
    }

    async fn touch_token(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.change(Touching { id, now }).await
    }

    async fn see_agent(&self, sighting: Sighting) -> Result<(), StoreError> {
        self.change(sighting).await
    }

    async fn agents(&self) -> Result<Vec<AgentRecord>, StoreError> {
        fleet::agents(&mut *self.snapshot().await?).await
    }

    async fn metrics(&self) -> Result<Metrics, StoreError> {
        fleet::metrics(&mut *self.snapshot().await?).await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        writing!(self, |db| outbox::prune(&mut db, before))
    }
}
