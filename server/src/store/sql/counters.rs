//! How many jobs are in which state: kept in the transaction that moves the jobs, so that counting
//! costs the same however many there are.

use std::collections::{BTreeMap, BTreeSet};

use ejecta_core::compare::Verdict;
use ejecta_core::lifecycle::{Change, State};
use sqlx::QueryBuilder;

use super::{Connection, Database, SHARDS};
use crate::store::codec::{self, tier};
use crate::store::{Counts, StoreError, TierCounts, VerdictCounts};

/// What is counted: an experiment's jobs of a tier in a state, and of finished ones those with a
/// verdict.
type Key = (i64, i64, &'static str, &'static str);

/// Changes of counters that a transaction gathers, to make them all at once at its end, in the same
/// order as all others do: two transactions never wait for each other in a circle.
#[derive(Debug, Default)]
pub(super) struct Deltas(BTreeMap<Key, i64>);

impl Deltas {
    /// Counts `jobs` more (or fewer) of an experiment's tier in a state.
    pub(super) fn add(&mut self, experiment: i64, tier: i64, state: &'static str, jobs: i64) {
        *self.0.entry((experiment, tier, state, "")).or_default() += jobs;
    }

    /// One job went from a state to another.
    pub(super) fn moved(
        &mut self,
        experiment: i64,
        tier: i64,
        from: &'static str,
        to: &'static str,
    ) {
        self.add(experiment, tier, from, -1);
        self.add(experiment, tier, to, 1);
    }

    /// A job went from a state to its result.
    pub(super) fn finished(
        &mut self,
        experiment: i64,
        tier: i64,
        from: &'static str,
        verdict: Verdict,
    ) {
        self.add(experiment, tier, from, -1);
        let key = (experiment, tier, "finished", verdict.name());
        *self.0.entry(key).or_default() += 1;
    }

    /// The experiments of which jobs were given up: their last ones, perhaps.
    fn given_up(&self) -> BTreeSet<i64> {
        self.0
            .iter()
            .filter(|((_, _, state, _), jobs)| *state == "error" && **jobs > 0)
            .map(|((experiment, ..), _)| *experiment)
            .collect()
    }

    /// As [`Deltas::apply`]; moves on the experiments of which these were the last jobs.
    pub(super) async fn apply_and_end(
        self,
        db: &mut Connection,
        shard: i64,
        now: i64,
    ) -> Result<(), StoreError> {
        let given_up = self.given_up();
        self.apply(db, shard).await?;
        for experiment in given_up {
            end_if_done(db, experiment, now).await?;
        }
        Ok(())
    }

    /// Changes the counters; any number will do as `shard`, and different ones wait less for each
    /// other.
    pub(super) async fn apply(self, db: &mut Connection, shard: i64) -> Result<(), StoreError> {
        let rows: Vec<(Key, i64)> = self.0.into_iter().filter(|(_, jobs)| *jobs != 0).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let mut upsert = QueryBuilder::<Database>::new(
            "INSERT INTO job_counts (experiment_id, tier, state, verdict, shard, jobs) ",
        );
        upsert.push_values(
            rows,
            |mut row, ((experiment, tier, state, verdict), jobs)| {
                row.push_bind(experiment)
                    .push_bind(tier)
                    .push_bind(state)
                    .push_bind(verdict)
                    .push_bind(shard.rem_euclid(SHARDS))
                    .push_bind(jobs);
            },
        );
        upsert.push(
            " ON CONFLICT (experiment_id, tier, state, verdict, shard)
             DO UPDATE SET jobs = job_counts.jobs + excluded.jobs",
        );
        upsert.build().execute(db).await?;
        Ok(())
    }
}

/// Counts the jobs of an experiment by tier and state.
pub(super) async fn counts(db: &mut Connection, experiment: i64) -> Result<Counts, StoreError> {
    let rows: Vec<(i64, String, i64)> = sqlx::query_as(
        "SELECT tier, state, CAST(sum(jobs) AS BIGINT) FROM job_counts WHERE experiment_id = $1
         GROUP BY tier, state ORDER BY tier",
    )
    .bind(experiment)
    .fetch_all(db)
    .await?;
    let mut counts = Counts::default();
    for (number, state, jobs) in rows {
        let tier = tier(number)?;
        if counts.tiers.last().is_none_or(|last| last.tier != tier) {
            counts.tiers.push(TierCounts {
                tier,
                queued: 0,
                leased: 0,
                finished: 0,
                errors: 0,
            });
        }
        let last = counts.tiers.last_mut().expect("pushed if it was missing");
        let count = match state.as_str() {
            "queued" => &mut last.queued,
            "leased" => &mut last.leased,
            "finished" => &mut last.finished,
            "error" => &mut last.errors,
            _ => return Err(StoreError::corrupt("a job's state", state)),
        };
        *count = codec::unsigned(jobs);
    }
    Ok(counts)
}

/// Counts the jobs of an experiment by tier and verdict.
pub(super) async fn verdict_counts(
    db: &mut Connection,
    experiment: i64,
) -> Result<VerdictCounts, StoreError> {
    let rows: Vec<(i64, String, String, i64)> = sqlx::query_as(
        "SELECT tier, state, verdict, CAST(sum(jobs) AS BIGINT) FROM job_counts
         WHERE experiment_id = $1 AND state IN ('finished', 'error')
         GROUP BY tier, state, verdict",
    )
    .bind(experiment)
    .fetch_all(db)
    .await?;
    let mut counts = VerdictCounts::new();
    for (number, state, verdict, jobs) in rows {
        if jobs > 0 {
            let verdict = match state.as_str() {
                "error" => Verdict::Error,
                _ => codec::verdict(&verdict)?,
            };
            let tier = counts.entry(tier(number)?).or_default();
            *tier.entry(verdict).or_default() += codec::unsigned(jobs);
        }
    }
    Ok(counts)
}

/// Moves an experiment on if all its jobs have ended; says whether it did.
///
/// Whoever puts jobs into a queue holds the experiment's row meanwhile, so what is counted here,
/// after the row was locked, cannot grow again behind our back.
pub(super) async fn end_if_done(
    db: &mut Connection,
    experiment: i64,
    now: i64,
) -> Result<bool, StoreError> {
    let state: String = sqlx::query_scalar(locking!(
        "SELECT e.state FROM experiments e WHERE e.id = $1",
        "e"
    ))
    .bind(experiment)
    .fetch_one(&mut *db)
    .await?;
    let state: State = state
        .parse()
        .map_err(|error| StoreError::corrupt("an experiment's state", error))?;
    let Some(after) = state.after(Change::EndJobs) else {
        return Ok(false);
    };
    if counts(&mut *db, experiment).await?.unfinished() > 0 {
        return Ok(false);
    }
    sqlx::query("UPDATE experiments SET state = $1, since = $2 WHERE id = $3")
        .bind(after.name())
        .bind(now)
        .bind(experiment)
        .execute(db)
        .await?;
    Ok(true)
}
