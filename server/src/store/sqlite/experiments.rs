//! Experiments, their plans and the facts about them.

use std::collections::BTreeMap;

use ejecta_core::experiment::{Experiment, ExperimentName};
use ejecta_core::plan::PlanEntry;
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use super::{decode, encode, experiment_id, tier_number};
use crate::store::StoreError;

/// Plan entries inserted by one statement: five values each, and SQLite binds 32766 at most.
const ENTRIES_AT_ONCE: usize = 5000;

pub(super) async fn create(
    db: &mut SqliteConnection,
    experiment: &Experiment,
    plan: &[PlanEntry],
) -> Result<(), StoreError> {
    let inserted: Result<i64, sqlx::Error> =
        sqlx::query_scalar("INSERT INTO experiments (name, body) VALUES (?, ?) RETURNING id")
            .bind(experiment.name.as_str())
            .bind(encode(experiment)?)
            .fetch_one(&mut *db)
            .await;
    let id = match inserted {
        Ok(id) => id,
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            return Err(StoreError::ExperimentExists(experiment.name.clone()));
        }
        Err(error) => return Err(error.into()),
    };
    insert_plan(db, id, plan).await?;
    for tier in experiment.config.scope.tiers() {
        sqlx::query(
            "INSERT INTO jobs (experiment_id, tier, position)
             SELECT experiment_id, ?, position FROM plan WHERE experiment_id = ? AND runs = 1
             ORDER BY position",
        )
        .bind(tier_number(*tier))
        .bind(id)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

async fn insert_plan(
    db: &mut SqliteConnection,
    experiment: i64,
    plan: &[PlanEntry],
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(plan.len());
    for (position, entry) in (0_i64..).zip(plan) {
        rows.push((position, entry, encode(entry)?));
    }
    for chunk in rows.chunks(ENTRIES_AT_ONCE) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO plan (experiment_id, position, crate_id, runs, entry) ",
        );
        insert.push_values(chunk, |mut row, (position, entry, json)| {
            row.push_bind(experiment)
                .push_bind(position)
                .push_bind(entry.krate.id().as_str().to_owned())
                .push_bind(i64::from(entry.skip.is_none()))
                .push_bind(json);
        });
        insert.build().persistent(false).execute(&mut *db).await?;
    }
    Ok(())
}

pub(super) async fn find(
    db: &mut SqliteConnection,
    name: &ExperimentName,
) -> Result<Option<Experiment>, StoreError> {
    let body: Option<String> = sqlx::query_scalar("SELECT body FROM experiments WHERE name = ?")
        .bind(name.as_str())
        .fetch_optional(db)
        .await?;
    body.map(|body| decode("an experiment", &body)).transpose()
}

pub(super) async fn all(db: &mut SqliteConnection) -> Result<Vec<Experiment>, StoreError> {
    let bodies: Vec<String> = sqlx::query_scalar("SELECT body FROM experiments ORDER BY id")
        .fetch_all(db)
        .await?;
    bodies
        .iter()
        .map(|body| decode("an experiment", body))
        .collect()
}

pub(super) async fn plan(
    db: &mut SqliteConnection,
    name: &ExperimentName,
) -> Result<Vec<PlanEntry>, StoreError> {
    let id = experiment_id(db, name).await?;
    let entries: Vec<String> =
        sqlx::query_scalar("SELECT entry FROM plan WHERE experiment_id = ? ORDER BY position")
            .bind(id)
            .fetch_all(db)
            .await?;
    entries
        .iter()
        .map(|entry| decode("an entry of a plan", entry))
        .collect()
}

pub(super) async fn set_fact(
    db: &mut SqliteConnection,
    name: &ExperimentName,
    key: &str,
    value: &serde_json::Value,
) -> Result<(), StoreError> {
    let id = experiment_id(db, name).await?;
    sqlx::query(
        "INSERT INTO facts (experiment_id, key, value) VALUES (?, ?, ?)
         ON CONFLICT (experiment_id, key) DO UPDATE SET value = excluded.value",
    )
    .bind(id)
    .bind(key)
    .bind(encode(value)?)
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn facts(
    db: &mut SqliteConnection,
    name: &ExperimentName,
) -> Result<BTreeMap<String, serde_json::Value>, StoreError> {
    let id = experiment_id(db, name).await?;
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT key, value FROM facts WHERE experiment_id = ?")
            .bind(id)
            .fetch_all(db)
            .await?;
    rows.into_iter()
        .map(|(key, value)| Ok((key, decode("a fact", &value)?)))
        .collect()
}
