//! Experiments, their plans and the facts about them.

use std::collections::BTreeMap;

use ejecta_core::experiment::{Experiment, ExperimentName};
use ejecta_core::lifecycle::{Change, State, may_edit};
use ejecta_core::mode::Scope;
use ejecta_core::plan::PlanEntry;
use jiff::Timestamp;
use sqlx::QueryBuilder;

use super::counters::Deltas;
use super::{Connection, Database, analyze, requeue};
use crate::store::codec::{decode, encode, experiment_name, maybe_time, signed, tier_number, time};
use crate::store::{
    Edit, EditEnd, Filed, Filter, Moved, NewExperiment, Order, Requeue, StoreError,
};

/// Plan entries inserted by one statement: five values each, and SQLite binds 32766 at most.
const ENTRIES_AT_ONCE: usize = 5000;

pub(super) async fn create(db: &mut Connection, new: &NewExperiment<'_>) -> Result<(), StoreError> {
    if let Some(key) = new.command
        && let Some(made) = commanded(db, key).await?
    {
        return Err(StoreError::Commanded(made));
    }
    let experiment = new.experiment;
    let created = experiment.created.as_millisecond();
    let id: Option<i64> = sqlx::query_scalar(
        "INSERT INTO experiments (name, body, state, since, priority, requirements, parent,
             snapshot, memory_bytes, created)
         VALUES ($1, $2, 'queued', $3, $4, $5, $6, $7, $8, $3)
         ON CONFLICT (name) DO NOTHING RETURNING id",
    )
    .bind(experiment.name.as_str())
    .bind(encode(experiment)?)
    .bind(created)
    .bind(i64::from(new.priority))
    .bind(encode(&new.requirements)?)
    .bind(new.parent.as_ref().map(encode).transpose()?)
    .bind(new.snapshot.as_ref().map(encode).transpose()?)
    .bind(signed(experiment.config.limits.memory_bytes))
    .fetch_optional(&mut *db)
    .await?;
    let Some(id) = id else {
        return Err(StoreError::ExperimentExists(experiment.name.clone()));
    };
    if let Some(key) = new.command
        && !remember_command(db, key, id, experiment.created).await?
    {
        // Somebody else was faster, just now; whoever asks again is told for which experiment.
        return Err(StoreError::Conflict {
            source: "another coordinator carries the same command out".into(),
        });
    }
    insert_facts(db, id, &new.facts).await?;
    insert_plan(db, id, new.plan).await?;
    queue_all(db, id, experiment.config.scope).await?;
    analyze(db, new.plan.len()).await
}

async fn insert_plan(
    db: &mut Connection,
    experiment: i64,
    plan: &[PlanEntry],
) -> Result<(), StoreError> {
    let mut from = 0_i64;
    for chunk in plan.chunks(ENTRIES_AT_ONCE) {
        let mut rows = Vec::with_capacity(chunk.len());
        for (position, entry) in (from..).zip(chunk) {
            rows.push((position, entry, encode(entry)?));
        }
        from += signed(chunk.len() as u64);
        let mut insert = QueryBuilder::<Database>::new(
            "INSERT INTO plan (experiment_id, position, crate_id, runs, entry) ",
        );
        insert.push_values(rows, |mut row, (position, entry, json)| {
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

/// Queues a job for each tier of the scope and each entry of the plan that runs.
async fn queue_all(db: &mut Connection, id: i64, scope: Scope) -> Result<(), StoreError> {
    let mut deltas = Deltas::default();
    for tier in scope.tiers() {
        let tier = tier_number(*tier);
        let queued = sqlx::query(
            "INSERT INTO jobs (experiment_id, tier, position)
             SELECT experiment_id, $1, position FROM plan WHERE experiment_id = $2 AND runs = 1
             ORDER BY position",
        )
        .bind(tier)
        .bind(id)
        .execute(&mut *db)
        .await?;
        deltas.add(id, tier, "queued", signed(queued.rows_affected()));
    }
    deltas.apply(db, id).await
}

/// The columns of [`Row`].
macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT e.id, e.body, e.state, e.since, e.started, e.priority, e.requirements, e.parent, e.snapshot
             FROM experiments e ",
            $rest
        )
    };
}

type Row = (
    i64,
    String,
    String,
    i64,
    Option<i64>,
    i64,
    String,
    Option<String>,
    Option<String>,
);

fn filed(row: Row) -> Result<Filed, StoreError> {
    let (number, body, state, since, started, priority, requirements, parent, snapshot) = row;
    let json = |what, text: Option<String>| text.map(|text| decode(what, &text)).transpose();
    Ok(Filed {
        number,
        experiment: decode("an experiment", &body)?,
        state: read_state(&state)?,
        since: time(since)?,
        started: maybe_time(started)?,
        priority: i32::try_from(priority)
            .map_err(|error| StoreError::corrupt("a priority", error))?,
        requirements: decode("requirements", &requirements)?,
        parent: parent.map(|text| decode("a parent", &text)).transpose()?,
        snapshot: json("a snapshot", snapshot)?,
    })
}

fn read_state(text: &str) -> Result<State, StoreError> {
    text.parse()
        .map_err(|error| StoreError::corrupt("an experiment's state", error))
}

pub(super) async fn find(
    db: &mut Connection,
    name: &ExperimentName,
) -> Result<Option<Filed>, StoreError> {
    let row: Option<Row> = sqlx::query_as(columns!("WHERE e.name = $1"))
        .bind(name.as_str())
        .fetch_optional(db)
        .await?;
    row.map(filed).transpose()
}

/// As [`find`], for an experiment that must be there, and whose row is held until the transaction
/// ends.
async fn hold(db: &mut Connection, name: &ExperimentName) -> Result<Filed, StoreError> {
    let row: Option<Row> = sqlx::query_as(locking!(columns!("WHERE e.name = $1"), "e"))
        .bind(name.as_str())
        .fetch_optional(db)
        .await?;
    match row {
        Some(row) => filed(row),
        None => Err(StoreError::UnknownExperiment(name.clone())),
    }
}

pub(super) async fn list(
    db: &mut Connection,
    filter: &Filter<'_>,
) -> Result<Vec<Filed>, StoreError> {
    let mut query = QueryBuilder::<Database>::new(columns!("WHERE 1 = 1"));
    if !filter.states.is_empty() {
        query.push(" AND e.state IN (");
        let mut states = query.separated(", ");
        for state in filter.states {
            states.push_bind(state.name());
        }
        query.push(")");
    }
    let (beyond, order) = match filter.order {
        Order::OldestFirst => (" AND e.id > ", " ORDER BY e.id LIMIT "),
        Order::NewestFirst => (" AND e.id < ", " ORDER BY e.id DESC LIMIT "),
    };
    if let Some(after) = filter.after {
        query.push(beyond).push_bind(after);
    }
    query.push(order).push_bind(i64::from(filter.limit));
    let rows: Vec<Row> = query.build_query_as().fetch_all(db).await?;
    rows.into_iter().map(filed).collect()
}

pub(super) async fn plan(
    db: &mut Connection,
    name: &ExperimentName,
) -> Result<Vec<PlanEntry>, StoreError> {
    let id = super::experiment_id(db, name).await?;
    let entries: Vec<String> =
        sqlx::query_scalar("SELECT entry FROM plan WHERE experiment_id = $1 ORDER BY position")
            .bind(id)
            .fetch_all(db)
            .await?;
    entries
        .iter()
        .map(|entry| decode("an entry of a plan", entry))
        .collect()
}

pub(super) async fn edit(
    db: &mut Connection,
    name: &ExperimentName,
    edit: &Edit<'_>,
    now: Timestamp,
) -> Result<EditEnd, StoreError> {
    let held = hold(db, name).await?;
    if let Some(key) = edit.command
        && commanded(db, key).await?.is_some()
    {
        return Ok(EditEnd::Repeated);
    }
    if let Some(part) = edit.parts().find(|part| !may_edit(held.state, *part)) {
        return Ok(EditEnd::TooLate(held.state, part));
    }
    if let Some(key) = edit.command
        && !remember_command(db, key, held.number, now).await?
    {
        return Ok(EditEnd::Repeated);
    }
    insert_facts(db, held.number, &edit.facts).await?;
    let old = held.experiment;
    let experiment = Experiment {
        selection: edit.plan.map_or(old.selection, |p| p.selection.to_owned()),
        seed: edit.plan.map_or(old.seed, |p| p.seed),
        config: edit.config.cloned().unwrap_or(old.config),
        ..old
    };
    let requirements = edit.requirements.unwrap_or(&held.requirements);
    let snapshot = match edit.plan {
        Some(plan) => plan.snapshot.cloned(),
        None => held.snapshot,
    };
    sqlx::query(
        "UPDATE experiments SET body = $1, priority = $2, requirements = $3, snapshot = $4,
             memory_bytes = $5
         WHERE id = $6",
    )
    .bind(encode(&experiment)?)
    .bind(i64::from(edit.priority.unwrap_or(held.priority)))
    .bind(encode(requirements)?)
    .bind(snapshot.as_ref().map(encode).transpose()?)
    .bind(signed(experiment.config.limits.memory_bytes))
    .bind(held.number)
    .execute(&mut *db)
    .await?;
    if edit.plan.is_none() && edit.config.is_none() {
        return Ok(EditEnd::Done);
    }
    for old in [
        "DELETE FROM jobs WHERE experiment_id = $1",
        "DELETE FROM job_counts WHERE experiment_id = $1",
    ] {
        sqlx::query(old).bind(held.number).execute(&mut *db).await?;
    }
    if let Some(plan) = edit.plan {
        sqlx::query("DELETE FROM plan WHERE experiment_id = $1")
            .bind(held.number)
            .execute(&mut *db)
            .await?;
        insert_plan(db, held.number, plan.plan).await?;
    }
    queue_all(db, held.number, experiment.config.scope).await?;
    Ok(EditEnd::Done)
}

pub(super) async fn move_on(
    db: &mut Connection,
    name: &ExperimentName,
    from: Option<State>,
    change: Change,
    now: Timestamp,
) -> Result<Moved, StoreError> {
    let held = hold(db, name).await?;
    let expected = from.is_none_or(|from| from == held.state);
    let Some(after) = held.state.after(change).filter(|_| expected) else {
        return Ok(Moved::Not(held.state));
    };
    set_state(db, held.number, after, now).await?;
    if held.state.is_active() && !after.is_active() {
        requeue::put_back(db, held.number, Requeue::Leased).await?;
    }
    Ok(Moved::To(after))
}

async fn set_state(
    db: &mut Connection,
    id: i64,
    state: State,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE experiments SET state = $1, since = $2 WHERE id = $3")
        .bind(state.name())
        .bind(now.as_millisecond())
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

/// Puts jobs back, and moves an experiment on that has jobs waiting again.
pub(super) async fn requeue(
    db: &mut Connection,
    name: &ExperimentName,
    what: Requeue<'_>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let held = hold(db, name).await?;
    let requeued = requeue::put_back(db, held.number, what).await?;
    if requeued > 0
        && what == Requeue::GivenUp
        && let Some(after) = held.state.after(Change::Reopen)
    {
        set_state(db, held.number, after, now).await?;
    }
    Ok(requeued)
}

pub(super) async fn commanded(
    db: &mut Connection,
    key: &str,
) -> Result<Option<ExperimentName>, StoreError> {
    let name: Option<String> = sqlx::query_scalar(
        "SELECT e.name FROM commands c JOIN experiments e ON e.id = c.experiment_id
         WHERE c.key = $1",
    )
    .bind(key)
    .fetch_optional(db)
    .await?;
    name.map(experiment_name).transpose()
}

/// Says whether it is the first time.
pub(super) async fn remember_command(
    db: &mut Connection,
    key: &str,
    id: i64,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let first = sqlx::query(
        "INSERT INTO commands (key, experiment_id, done) VALUES ($1, $2, $3)
         ON CONFLICT (key) DO NOTHING",
    )
    .bind(key)
    .bind(id)
    .bind(now.as_millisecond())
    .execute(db)
    .await?;
    Ok(first.rows_affected() == 1)
}

pub(super) async fn set_fact(
    db: &mut Connection,
    name: &ExperimentName,
    key: &str,
    value: &serde_json::Value,
) -> Result<(), StoreError> {
    let id = super::experiment_id(db, name).await?;
    insert_fact(db, id, key, value).await
}

async fn insert_facts(
    db: &mut Connection,
    id: i64,
    facts: &BTreeMap<&str, serde_json::Value>,
) -> Result<(), StoreError> {
    for (key, value) in facts {
        insert_fact(db, id, key, value).await?;
    }
    Ok(())
}

async fn insert_fact(
    db: &mut Connection,
    id: i64,
    key: &str,
    value: &serde_json::Value,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO facts (experiment_id, key, value) VALUES ($1, $2, $3)
         ON CONFLICT (experiment_id, key) DO UPDATE SET value = excluded.value",
    )
    .bind(id)
    .bind(key)
    .bind(encode(value)?)
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn settle_fact(
    db: &mut Connection,
    name: &ExperimentName,
    key: &str,
    value: &serde_json::Value,
) -> Result<serde_json::Value, StoreError> {
    let id = super::experiment_id(db, name).await?;
    // The update changes nothing, and waits for whoever writes the same fact.
    let held: String = sqlx::query_scalar(
        "INSERT INTO facts (experiment_id, key, value) VALUES ($1, $2, $3)
         ON CONFLICT (experiment_id, key) DO UPDATE SET value = facts.value RETURNING value",
    )
    .bind(id)
    .bind(key)
    .bind(encode(value)?)
    .fetch_one(db)
    .await?;
    decode("a fact", &held)
}

pub(super) async fn fact(
    db: &mut Connection,
    name: &ExperimentName,
    key: &str,
) -> Result<Option<serde_json::Value>, StoreError> {
    let id = super::experiment_id(db, name).await?;
    let fact: Option<String> =
        sqlx::query_scalar("SELECT value FROM facts WHERE experiment_id = $1 AND key = $2")
            .bind(id)
            .bind(key)
            .fetch_optional(db)
            .await?;
    fact.map(|fact| decode("a fact", &fact)).transpose()
}

pub(super) async fn facts(
    db: &mut Connection,
    name: &ExperimentName,
) -> Result<BTreeMap<String, serde_json::Value>, StoreError> {
    let id = super::experiment_id(db, name).await?;
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT key, value FROM facts WHERE experiment_id = $1")
            .bind(id)
            .fetch_all(db)
            .await?;
    rows.into_iter()
        .map(|(key, value)| Ok((key, decode("a fact", &value)?)))
        .collect()
}
