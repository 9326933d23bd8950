//! The store on SQLite: one file beside the experiment's other files, or of a small coordinator.
//!
//! The database is in write-ahead mode, with one connection that writes and a few that read, so
//! that writers queue here and not in SQLite's busy loop. `synchronous` is `FULL`: an agent throws
//! its own copy of a result away once it is acknowledged, so an acknowledged result must survive
//! not only a killed process (`NORMAL` would do for that) but a lost machine too. It costs one
//! `fsync` for each result, which took a compiler's time to come by.

mod errors;
mod experiments;
mod queue;
mod results;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use ejecta_core::experiment::{Experiment, ExperimentName};
use ejecta_core::job::LeaseId;
use ejecta_core::mode::Scope;
use ejecta_core::outcome::JobRecord;
use ejecta_core::plan::PlanEntry;
use jiff::Timestamp;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection as _, Sqlite, Transaction};

use super::{
    Claim, Claimed, Counts, EntryResult, Heartbeat, LeasedJob, Released, Setback, Store,
    StoreError, Submitted,
};

/// The migrations, as (version, description, SQL). Those of a release are never changed, only
/// added to.
const MIGRATIONS: &[(i64, &str, &str)] = &[(
    1,
    "kernel",
    include_str!("../../../migrations/sqlite/0001_kernel.sql"),
)];

/// How long a call waits for another program that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that only read.
const READERS: u32 = 4;

/// A store in one SQLite database. Dropping it without [`SqliteStore::close`] loses nothing.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the database at `path`; makes it where there is none, and brings it to the newest
    /// schema.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a newer version of Ejecta wrote it;
    /// [`StoreError::Unusable`] when the file is no database; [`StoreError::Unavailable`] when it
    /// cannot be opened or is held by another program.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            // Where the disk is full SQLite takes a transaction back by itself, and the client
            // believes for ever that it is in one.
            .before_acquire(|db, _| Box::pin(async move { Ok(!db.is_in_transaction()) }))
            .connect_with(options.clone())
            .await?;
        migrate(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.create_if_missing(false).pragma("query_only", "ON"))
            .await?;
        Ok(Self { writer, readers })
    }

    /// Waits for running calls, folds the write-ahead log into the database, and closes it.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Starts a transaction that holds the right to write from its first moment.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

async fn migrate(writer: &SqlitePool) -> Result<(), StoreError> {
    let migrations = MIGRATIONS
        .iter()
        .map(|&(version, description, sql)| {
            Migration::new(
                version,
                description.into(),
                MigrationType::Simple,
                sql.into_sql_str(),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(migrations)
        .run(writer)
        .await
        .map_err(|error| errors::migration(error, MIGRATIONS.len()))
}

/// The row of the experiment called `name`.
async fn experiment_id(
    db: &mut SqliteConnection,
    name: &ExperimentName,
) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT id FROM experiments WHERE name = ?")
        .bind(name.as_str())
        .fetch_optional(db)
        .await?
        .ok_or_else(|| StoreError::UnknownExperiment(name.clone()))
}

/// The number that stands for a tier: its place in the order in which tiers run.
fn tier_number(tier: Scope) -> i64 {
    match tier {
        Scope::Lib => 0,
        Scope::All => 1,
    }
}

/// The tier that a number stands for.
fn tier(number: i64) -> Result<Scope, StoreError> {
    match number {
        0 => Ok(Scope::Lib),
        1 => Ok(Scope::All),
        _ => Err(StoreError::corrupt("a tier", format!("`{number}`"))),
    }
}

/// Reads stored JSON.
fn decode<T: serde::de::DeserializeOwned>(what: &'static str, json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::corrupt(what, error))
}

/// Writes JSON to be stored.
fn encode<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Bug {
        source: error.into(),
    })
}

/// Reads a stored experiment name.
fn experiment_name(text: String) -> Result<ExperimentName, StoreError> {
    ExperimentName::new(text).map_err(|error| StoreError::corrupt("an experiment's name", error))
}

#[async_trait]
impl Store for SqliteStore {
    async fn create_experiment(
        &self,
        experiment: &Experiment,
        plan: &[PlanEntry],
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        experiments::create(&mut tx, experiment, plan).await?;
        Ok(tx.commit().await?)
    }

    async fn experiment(&self, name: &ExperimentName) -> Result<Option<Experiment>, StoreError> {
        experiments::find(&mut *self.readers.acquire().await?, name).await
    }

    async fn experiments(&self) -> Result<Vec<Experiment>, StoreError> {
        experiments::all(&mut *self.readers.acquire().await?).await
    }

    async fn plan(&self, name: &ExperimentName) -> Result<Vec<PlanEntry>, StoreError> {
        experiments::plan(&mut *self.readers.acquire().await?, name).await
    }

    async fn claim(&self, claim: &Claim<'_>) -> Result<Claimed, StoreError> {
        let mut tx = self.write().await?;
        let claimed = queue::claim(&mut tx, claim).await?;
        tx.commit().await?;
        Ok(claimed)
    }

    async fn heartbeat(
        &self,
        leases: &[LeaseId],
        until: Timestamp,
    ) -> Result<Heartbeat, StoreError> {
        let mut tx = self.write().await?;
        let heartbeat = queue::heartbeat(&mut tx, leases, until).await?;
        tx.commit().await?;
        Ok(heartbeat)
    }

    async fn leased_job(&self, lease: &LeaseId) -> Result<Option<LeasedJob>, StoreError> {
        queue::leased_job(&mut *self.readers.acquire().await?, lease).await
    }

    async fn submit(
        &self,
        lease: &LeaseId,
        record: &JobRecord,
        now: Timestamp,
    ) -> Result<Submitted, StoreError> {
        let record = encode(record)?;
        let mut tx = self.write().await?;
        let submitted = results::submit(&mut tx, lease, &record, now).await?;
        tx.commit().await?;
        Ok(submitted)
    }

    async fn release(&self, lease: &LeaseId, why: Setback<'_>) -> Result<Released, StoreError> {
        let mut tx = self.write().await?;
        let released = queue::release(&mut tx, lease, why).await?;
        tx.commit().await?;
        Ok(released)
    }

    async fn requeue_leased(&self, name: &ExperimentName) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let requeued = queue::requeue_leased(&mut tx, name).await?;
        tx.commit().await?;
        Ok(requeued)
    }

    async fn requeue_given_up(&self, name: &ExperimentName) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let requeued = queue::requeue_given_up(&mut tx, name).await?;
        tx.commit().await?;
        Ok(requeued)
    }

    async fn counts(&self, name: &ExperimentName) -> Result<Counts, StoreError> {
        let mut db = self.readers.acquire().await?;
        let id = experiment_id(&mut db, name).await?;
        results::counts(&mut db, id).await
    }

    async fn results(
        &self,
        name: &ExperimentName,
        from: u64,
        limit: u32,
    ) -> Result<Vec<EntryResult>, StoreError> {
        let mut db = self.readers.acquire().await?;
        let id = experiment_id(&mut db, name).await?;
        results::page(&mut db, id, from, limit).await
    }

    async fn set_fact(
        &self,
        name: &ExperimentName,
        key: &str,
        value: &serde_json::Value,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        experiments::set_fact(&mut tx, name, key, value).await?;
        Ok(tx.commit().await?)
    }

    async fn facts(
        &self,
        name: &ExperimentName,
    ) -> Result<BTreeMap<String, serde_json::Value>, StoreError> {
        experiments::facts(&mut *self.readers.acquire().await?, name).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ErrorClass;

    #[tokio::test]
    async fn a_newer_schema_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ejecta.db");
        let store = SqliteStore::open(&path).await.expect("opens");
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (99, 'from the future', 1, x'00', 0)",
        )
        .execute(&store.writer)
        .await
        .expect("inserted");
        store.close().await;
        let error = SqliteStore::open(&path).await.expect_err("newer");
        assert_eq!(
            error.to_string(),
            "use the store: its schema is 99 and this version of ejecta knows 1 at most"
        );
        assert_eq!(error.class(), ErrorClass::Permanent);
        assert!(error.hint().is_some());
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ejecta.db");
        std::fs::write(&path, "not a database, whatever its name says".repeat(100)).expect("write");
        let error = SqliteStore::open(&path).await.expect_err("no database");
        assert_eq!(error.class(), ErrorClass::Permanent, "{error}");
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_an_error_of_the_moment() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("missing").join("ejecta.db");
        let error = SqliteStore::open(&path).await.expect_err("no directory");
        assert_eq!(error.class(), ErrorClass::Transient, "{error}");
    }

    #[tokio::test]
    async fn commits_are_durable_and_foreign_keys_are_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(&dir.path().join("ejecta.db"))
            .await
            .expect("opens");
        let mut db = store.writer.acquire().await.expect("a connection");
        let pragma: (String, i64, i64) = sqlx::query_as(
            "SELECT * FROM pragma_journal_mode, pragma_synchronous, pragma_foreign_keys",
        )
        .fetch_one(&mut *db)
        .await
        .expect("pragmas");
        assert_eq!(pragma, ("wal".to_owned(), 2, 1), "2 is FULL");
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_took_back_by_itself_is_the_last_of_its_connection() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(&dir.path().join("ejecta.db"))
            .await
            .expect("opens");
        let mut tx = store.write().await.expect("a transaction");
        // What SQLite does on a full disk, before it says so.
        sqlx::query("ROLLBACK")
            .execute(&mut *tx)
            .await
            .expect("taken back");
        drop(tx);
        let tx = store.write().await.expect("another transaction");
        tx.commit().await.expect("committed");
    }

    #[tokio::test]
    async fn claiming_reads_only_the_indexes_of_what_waits() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(&dir.path().join("ejecta.db"))
            .await
            .expect("opens");
        let mut db = store.writer.acquire().await.expect("a connection");
        for (query, index) in [
            (queue::QUEUED, "jobs_queue"),
            (queue::EXPIRED, "jobs_leases"),
        ] {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain)
                .bind(1)
                .fetch_all(&mut *db)
                .await
                .expect("a plan");
            let text: Vec<&str> = plan.iter().map(|row| row.3.as_str()).collect();
            assert!(text.iter().any(|line| line.contains(index)), "{text:?}");
            assert!(
                !text.iter().any(|line| line.starts_with("SCAN e")),
                "{text:?}"
            );
        }
    }
}
