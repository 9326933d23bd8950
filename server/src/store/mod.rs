//! What a coordinator remembers: experiments, plans, the queue with its leases, results, tokens
//! and agents.
//!
//! [`Store`] is a trait in the words of the domain; a backend carries out the rules of
//! [`ejecta_core`] ([`ejecta_core::job`], [`ejecta_core::queue`], [`ejecta_core::lifecycle`]) in
//! transactions and adds none of its own. A store has no clock and no source of randomness: times
//! and new lease ids are passed in. It knows nothing of HTTP, of logs and of reports.
//!
//! Every verb is atomic, and what it has answered is durable. All calls may be made at once from
//! many tasks, and where the backend is a server, from many coordinators.
//!
//! The bot's memory is kept by the same backends, under traits of its own ([`crate::bot::mailbox`],
//! [`crate::bot::follows`]).
//!
//! There are two backends, [`SqliteStore`] and [`PostgresStore`]. What they say to their databases
//! is nearly all the same and stands in `sql/`, which is compiled once for each of them.

mod codec;
mod error;
mod filing;
mod fleet;
mod measured;
mod outcome;
#[expect(
    clippy::duplicate_mod,
    reason = "what both backends say to their databases stands in `sql/` once"
)]
mod postgres;
mod sqlite;
mod work;

use std::collections::BTreeMap;

use async_trait::async_trait;
use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::LeaseId;
use ejecta_core::lifecycle::{Change, State};
use ejecta_core::outcome::JobRecord;
use ejecta_core::plan::PlanEntry;
use jiff::Timestamp;

pub use error::{Cause, ErrorClass, StoreError};
pub use filing::{Edit, EditEnd, Filed, Filter, Moved, NewExperiment, Order, Replan, Requeue};
pub use fleet::{AgentJob, AgentRecord, Metrics, Sighting, TokenRecord};
pub use measured::Measured;
pub use outcome::{
    Counts, EntryResult, EntryVerdicts, Failure, JobState, News, TierCounts, TierResult,
    VerdictCounts,
};
pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;
pub use work::{
    Beat, Beats, Claim, Claimed, Expired, Granted, Heartbeat, LeasedJob, Loss, Lost, Released,
    Setback, Submitted,
};

/// What a coordinator remembers. See the module for what holds of every verb.
///
/// Each verb fails with a [`StoreError`] only: for the database's reasons, or because the named
/// experiment does not exist. Losing a race is an answer, never an error.
#[async_trait]
pub trait Store: Send + Sync {
    // ---- experiments

    /// Keeps an experiment with its plan, and queues a job for each tier of its scope and each
    /// entry that is not skipped: the first tier over the whole plan, then the next.
    async fn create(&self, new: &NewExperiment<'_>) -> Result<(), StoreError>;

    /// The experiment of that name.
    async fn experiment(&self, name: &ExperimentName) -> Result<Option<Filed>, StoreError>;

    /// Those experiments that `filter` names.
    async fn experiments(&self, filter: &Filter<'_>) -> Result<Vec<Filed>, StoreError>;

    /// The plan, in its order.
    async fn plan(&self, name: &ExperimentName) -> Result<Vec<PlanEntry>, StoreError>;

    /// Changes parts of an experiment, all or none, where [`ejecta_core::lifecycle::may_edit`]
    /// allows it.
    async fn edit(
        &self,
        name: &ExperimentName,
        edit: &Edit<'_>,
        now: Timestamp,
    ) -> Result<EditEnd, StoreError>;

    /// Moves an experiment on by the table of [`State::after`]: from `from`, or, where that is
    /// `None`, from whatever state it is in. Of several calls at once from one state one moves it.
    /// Leaving the states under way takes all leases away, without counting the attempts.
    async fn move_on(
        &self,
        name: &ExperimentName,
        from: Option<State>,
        change: Change,
        now: Timestamp,
    ) -> Result<Moved, StoreError>;

    /// The experiment that the command of this key made or changed, if it was carried out.
    async fn commanded(&self, key: &str) -> Result<Option<ExperimentName>, StoreError>;

    /// Remembers that the command of this key was carried out; says whether it is the first time.
    async fn remember_command(
        &self,
        key: &str,
        name: &ExperimentName,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Keeps a small fact about the experiment, in place of an older one with that key.
    async fn set_fact(
        &self,
        name: &ExperimentName,
        key: &str,
        value: &serde_json::Value,
    ) -> Result<(), StoreError>;

    /// Keeps a small fact about the experiment if there is none with that key; says which holds.
    async fn settle_fact(
        &self,
        name: &ExperimentName,
        key: &str,
        value: &serde_json::Value,
    ) -> Result<serde_json::Value, StoreError>;

    /// One fact about the experiment.
    async fn fact(
        &self,
        name: &ExperimentName,
        key: &str,
    ) -> Result<Option<serde_json::Value>, StoreError>;

    /// All facts about the experiment.
    async fn facts(
        &self,
        name: &ExperimentName,
    ) -> Result<BTreeMap<String, serde_json::Value>, StoreError>;

    // ---- the queue

    /// Takes leases away that have expired by a time, then grants jobs of experiments whose
    /// requirements the agent meets, shared by [`ejecta_core::queue::share`]; within an experiment
    /// tier by tier, then those that were tried least (so that a job which fails us holds up no
    /// other), then in the plan's order. Jobs of a size class for which the agent has not the memory
    /// are left, and so are those that are for others ([`ejecta_core::queue::is_for_others`]).
    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError>;

    /// Extends leases. One that had expired holds again if its job was not granted anew. One whose
    /// progress has not changed for too long is taken away.
    async fn heartbeat(&self, beats: Beats) -> Result<Heartbeat, StoreError>;

    /// Whether `agent` holds a lease of a job of the experiment.
    async fn works_on(&self, agent: &str, name: &ExperimentName) -> Result<bool, StoreError>;

    /// The job that `lease` holds or has finished, or held until it expired while nobody else has
    /// the job; none for a lease that has lost it.
    async fn leased_job(&self, lease: &LeaseId) -> Result<Option<LeasedJob>, StoreError>;

    /// Makes `record` the result of the job that `lease` holds, by the rule of
    /// [`ejecta_core::job::judge_submission`]. An experiment whose last job this was needs a
    /// report then.
    async fn submit(
        &self,
        lease: &LeaseId,
        record: &JobRecord,
        now: Timestamp,
    ) -> Result<Submitted, StoreError>;

    /// Gives the job that `lease` holds back.
    async fn release(
        &self,
        lease: &LeaseId,
        why: Setback<'_>,
        now: Timestamp,
    ) -> Result<Released, StoreError>;

    /// Takes away the leases that ended at `now` or before, some hundreds of them at most, and
    /// moves on experiments whose jobs have all ended.
    async fn expire(&self, now: Timestamp) -> Result<Expired, StoreError>;

    /// Puts jobs of an experiment back into the queue; says how many there were.
    async fn requeue(
        &self,
        name: &ExperimentName,
        what: Requeue<'_>,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    // ---- results

    /// How many jobs are in which state.
    async fn counts(&self, name: &ExperimentName) -> Result<Counts, StoreError>;

    /// How many jobs came out in which way.
    async fn verdict_counts(&self, name: &ExperimentName) -> Result<VerdictCounts, StoreError>;

    /// At most `limit` crates of the plan from position `from` (counted from 0) on, with all that
    /// is known of each, in the plan's order; nothing beyond the plan's end.
    async fn results(
        &self,
        name: &ExperimentName,
        from: u64,
        limit: u32,
    ) -> Result<Vec<EntryResult>, StoreError>;

    /// As [`Store::results`], without the records.
    async fn verdicts(
        &self,
        name: &ExperimentName,
        from: u64,
        limit: u32,
    ) -> Result<Vec<EntryVerdicts>, StoreError>;

    /// At most `limit` results of the experiment that are newer than the one with the number
    /// `after`, oldest first. Whoever goes on from the last number misses none.
    async fn news(
        &self,
        name: &ExperimentName,
        after: i64,
        limit: u32,
    ) -> Result<Vec<News>, StoreError>;

    /// The number of the experiment's newest result; 0 before the first. Whoever follows
    /// [`Store::news`] from it hears of all that comes later.
    async fn newest(&self, name: &ExperimentName) -> Result<i64, StoreError>;

    /// At most `limit` jobs that were given up, tier by tier in the plan's order.
    async fn failures(&self, name: &ExperimentName, limit: u32)
    -> Result<Vec<Failure>, StoreError>;

    // ---- tokens and agents

    /// Keeps a token; says whether its id was free.
    async fn add_token(&self, token: &TokenRecord) -> Result<bool, StoreError>;

    /// The token with that id, whatever it is worth.
    async fn token(&self, id: &str) -> Result<Option<TokenRecord>, StoreError>;

    /// All tokens, in the order in which they were made.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;

    /// Takes a token back for good; says whether there was one that was not.
    async fn revoke_token(&self, id: &str, now: Timestamp) -> Result<bool, StoreError>;

    /// Remembers that a token was used.
    async fn touch_token(&self, id: &str, now: Timestamp) -> Result<(), StoreError>;

    /// Remembers that an agent was heard of, and what it says of itself.
    async fn see_agent(&self, sighting: Sighting) -> Result<(), StoreError>;

    /// All agents with what they run, by name.
    async fn agents(&self) -> Result<Vec<AgentRecord>, StoreError>;

    // ---- the store itself

    /// Figures for monitoring.
    async fn metrics(&self) -> Result<Metrics, StoreError>;

    /// Forgets deliveries, the text of handled comments, and what was said, all from before a time,
    /// and tokens that have been worth nothing since then; says how many of all these.
    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError>;
}

/// How often a transaction is tried that others got in the way of.
const TRIES: u32 = 8;

/// How many crates [`all_results`] asks for at once.
const RESULTS_PAGE: u32 = 500;

/// All crates of the plan with all that is known of each, in memory at once.
///
/// # Errors
/// As [`Store::results`].
pub async fn all_results(
    store: &dyn Store,
    name: &ExperimentName,
) -> Result<Vec<EntryResult>, StoreError> {
    let mut all = Vec::new();
    loop {
        let page = store.results(name, all.len() as u64, RESULTS_PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// As [`all_results`], without the records.
///
/// # Errors
/// As [`Store::verdicts`].
pub async fn all_verdicts(
    store: &dyn Store,
    name: &ExperimentName,
) -> Result<Vec<EntryVerdicts>, StoreError> {
    let mut all = Vec::new();
    loop {
        let from = all.len() as u64;
        let page = store.verdicts(name, from, RESULTS_PAGE * 10).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
