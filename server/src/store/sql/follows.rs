//! Which experiments the bot follows, for whom, and what it has told of them.

use ejecta_core::experiment::ExperimentName;
use ejecta_core::lifecycle::State;
use jiff::Timestamp;

use super::{Connection, experiment_id};
use crate::bot::follows::{Followed, Told, Untold};
use crate::bot::model::Thread;
use crate::store::StoreError;
use crate::store::codec::{decode, encode, experiment_name, signed, time, unsigned};

fn followed_of(name: String, repo: &str, thread: i64, about: &str) -> Result<Followed, StoreError> {
    Ok(Followed {
        name: experiment_name(name)?,
        thread: Thread {
            repo: repo
                .parse()
                .map_err(|error| StoreError::corrupt("a repository", error))?,
            number: unsigned(thread),
        },
        about: decode("what an experiment is about", about)?,
    })
}

fn state_of(text: &str) -> Result<State, StoreError> {
    text.parse()
        .map_err(|error| StoreError::corrupt("a state", error))
}

pub(super) async fn follow(db: &mut Connection, followed: &Followed) -> Result<(), StoreError> {
    let id = experiment_id(db, &followed.name).await?;
    sqlx::query(
        "INSERT INTO followed (experiment_id, repo, thread, about) VALUES ($1, $2, $3, $4)
         ON CONFLICT (experiment_id) DO UPDATE SET about = excluded.about",
    )
    .bind(id)
    .bind(followed.thread.repo.to_string())
    .bind(signed(followed.thread.number))
    .bind(encode(&followed.about)?)
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn followed(
    db: &mut Connection,
    name: &ExperimentName,
) -> Result<Option<Followed>, StoreError> {
    let row: Option<(String, String, i64, String)> = sqlx::query_as(
        "SELECT e.name, f.repo, f.thread, f.about
         FROM followed f JOIN experiments e ON e.id = f.experiment_id WHERE e.name = $1",
    )
    .bind(name.as_str())
    .fetch_optional(db)
    .await?;
    row.map(|(name, repo, thread, about)| followed_of(name, &repo, thread, &about))
        .transpose()
}

pub(super) async fn latest(
    db: &mut Connection,
    thread: &Thread,
) -> Result<Option<ExperimentName>, StoreError> {
    let name: Option<String> = sqlx::query_scalar(
        "SELECT e.name FROM followed f JOIN experiments e ON e.id = f.experiment_id
         WHERE f.repo = $1 AND f.thread = $2 ORDER BY f.experiment_id DESC LIMIT 1",
    )
    .bind(thread.repo.to_string())
    .bind(signed(thread.number))
    .fetch_optional(db)
    .await?;
    name.map(experiment_name).transpose()
}

type Row = (
    String,
    String,
    i64,
    String,
    String,
    i64,
    Option<String>,
    Option<i64>,
    i64,
);

pub(super) async fn untold(db: &mut Connection) -> Result<Vec<Untold>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT e.name, f.repo, f.thread, f.about, e.state, e.since, f.told, f.told_since, f.early
         FROM followed f JOIN experiments e ON e.id = f.experiment_id
         WHERE e.state NOT IN ('completed', 'aborted', 'failed')
             OR f.told IS NULL OR f.told <> e.state OR f.told_since <> e.since
         ORDER BY f.experiment_id",
    )
    .fetch_all(db)
    .await?;
    let untold = rows.into_iter().map(|row| {
        let (name, repo, thread, about, state, since, told, told_since, early) = row;
        let told = match (told, told_since) {
            (Some(state), Some(since)) => Some((state_of(&state)?, time(since)?)),
            _ => None,
        };
        Ok(Untold {
            followed: followed_of(name, &repo, thread, &about)?,
            state: state_of(&state)?,
            since: time(since)?,
            told: Told {
                state: told,
                early: early != 0,
            },
        })
    });
    untold.collect()
}

pub(super) async fn told(
    db: &mut Connection,
    name: &ExperimentName,
    told: &Told,
) -> Result<(), StoreError> {
    let id = experiment_id(db, name).await?;
    let (state, since) = told.state.unzip();
    sqlx::query(
        "UPDATE followed SET told = $1, told_since = $2, early = $3 WHERE experiment_id = $4",
    )
    .bind(state.map(State::name))
    .bind(since.map(Timestamp::as_millisecond))
    .bind(i64::from(told.early))
    .bind(id)
    .execute(db)
    .await?;
    Ok(())
}
