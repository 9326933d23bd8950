//! The store on SQLite: one file beside the experiment's other files, or of a small coordinator.
//!
//! The database is in write-ahead mode, with one connection that writes and a few that read, so
//! that writers queue here and not in SQLite's busy loop. `synchronous` is `FULL`: an agent throws
//! its own copy of a result away once it is acknowledged, so an acknowledged result must survive
//! not only a killed process (`NORMAL` would do for that) but a lost machine too. What many agents ask
//! for at the same time shares one transaction and its `fsync` ([`group`]).

use std::path::Path;
use std::time::Duration;

use ejecta_core::experiment::ExperimentName;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection as _, Sqlite, Transaction};

use super::StoreError;
use super::error::migration_error;
use group::Group;
use work::Work;

/// A query whose rows are held until the transaction ends: SQLite has one writer, who holds all.
macro_rules! locking {
    ($sql:expr, $of:literal) => {
        $sql
    };
}

/// A query whose rows are held, and that leaves out those that others hold.
macro_rules! skipping {
    ($sql:expr, $of:literal) => {
        $sql
    };
}

#[path = "../sql/claim.rs"]
mod claim;
#[path = "../sql/counters.rs"]
mod counters;
#[path = "../sql/experiments.rs"]
mod experiments;
#[path = "../sql/fleet.rs"]
mod fleet;
#[path = "../sql/follows.rs"]
mod follows;
#[path = "../sql/inbox.rs"]
mod inbox;
#[path = "../sql/leases.rs"]
mod leases;
#[path = "../sql/mail.rs"]
mod mail;
#[cfg(test)]
#[path = "../sql/old_data.rs"]
mod old_data;
#[path = "../sql/outbox.rs"]
mod outbox;
#[path = "../sql/requeue.rs"]
mod requeue;
#[path = "../sql/results.rs"]
mod results;
#[path = "../sql/verbs.rs"]
mod verbs;
#[path = "../sql/work.rs"]
mod work;

mod group;

type Database = Sqlite;
type Connection = SqliteConnection;
type Backend = SqliteStore;

/// One writer needs one of each counter.
const SHARDS: i64 = 1;

/// The migrations, as (version, description, SQL). Those of a release are never changed, only
/// added to.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        1,
        "kernel",
        include_str!("../../../migrations/sqlite/0001_kernel.sql"),
    ),
    (
        2,
        "fleet",
        include_str!("../../../migrations/sqlite/0002_fleet.sql"),
    ),
    (
        3,
        "service",
        include_str!("../../../migrations/sqlite/0003_service.sql"),
    ),
    (
        4,
        "mail",
        include_str!("../../../migrations/sqlite/0004_mail.sql"),
    ),
    (
        5,
        "watching",
        include_str!("../../../migrations/sqlite/0005_watching.sql"),
    ),
];

/// How long a call waits for another program that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that only read.
const READERS: u32 = 4;

/// A store in one SQLite database. Dropping it without [`SqliteStore::close`] loses nothing.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    group: Group,
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
            // A file does not go away, as a server does.
            .test_before_acquire(false)
            // Where the disk is full SQLite takes a transaction back by itself, and the client
            // believes for ever that it is in one.
            .before_acquire(|db, _| Box::pin(async move { Ok(!db.is_in_transaction()) }))
            .connect_with(options.clone())
            .await?;
        migrate(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .connect_with(options.create_if_missing(false).pragma("query_only", "ON"))
            .await?;
        let group = Group::start(writer.clone());
        Ok(Self {
            writer,
            readers,
            group,
        })
    }

    /// Waits for running calls, folds the write-ahead log into the database, and closes it.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Starts a transaction that holds the right to write from its first moment.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        begin(&self.writer).await
    }

    /// Makes a change, in one transaction with those of others.
    async fn change<W: Work>(&self, work: W) -> Result<W::Done, StoreError> {
        self.group.change(work).await
    }

    /// A connection to read by, each statement from the moment in which it begins.
    async fn read(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// A transaction that sees one moment.
    async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.readers.begin().await?)
    }
}

/// Starts a transaction that holds the right to write from its first moment.
async fn begin(writer: &SqlitePool) -> Result<Transaction<'static, Sqlite>, StoreError> {
    Ok(writer.begin_with("BEGIN IMMEDIATE").await?)
}

fn migrator(migrations: &'static [(i64, &str, &str)]) -> Migrator {
    let migrations = migrations
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
}

/// Brings the schema up to date, in one transaction that holds the right to write: another program
/// that opens the database at the same time waits for it.
async fn migrate(writer: &SqlitePool) -> Result<(), StoreError> {
    let mut tx = begin(writer).await?;
    migrator(MIGRATIONS)
        .run_direct(None, &mut *tx, false)
        .await
        .map_err(|error| migration_error(error, MIGRATIONS.len()))?;
    while results::judge_old(&mut tx).await? {}
    Ok(tx.commit().await?)
}

/// The row of the experiment called `name`.
async fn experiment_id(db: &mut Connection, name: &ExperimentName) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT id FROM experiments WHERE name = $1")
        .bind(name.as_str())
        .fetch_optional(db)
        .await?
        .ok_or_else(|| StoreError::UnknownExperiment(name.clone()))
}

/// Tells the planner of many new rows: SQLite's takes the indexes without.
async fn analyze(_: &mut Connection, _: usize) -> Result<(), StoreError> {
    Ok(())
}

/// Says that a result is about to be numbered: of one writer everybody knows.
async fn announce(_: &mut Connection, _: i64) -> Result<(), StoreError> {
    Ok(())
}

/// The newest result's number, below which none is still to come: the writer numbers them in the
/// order of its transactions.
async fn settle(db: &mut Connection, experiment: i64) -> Result<i64, StoreError> {
    let newest: Option<i64> =
        sqlx::query_scalar("SELECT max(number) FROM records WHERE experiment_id = $1")
            .bind(experiment)
            .fetch_one(db)
            .await?;
    Ok(newest.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ErrorClass;

    #[tokio::test]
    async fn a_database_of_the_first_schema_is_brought_up_to_date() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ejecta.db");
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true);
        let mut db = SqliteConnection::connect_with(&options)
            .await
            .expect("opens");
        migrator(&MIGRATIONS[..1])
            .run_direct(None, &mut db, false)
            .await
            .expect("the first schema");
        old_data::fill(&mut db).await;
        db.close().await.expect("closes");
        // Twice at once, as two programs may.
        let (one, two) = tokio::join!(SqliteStore::open(&path), SqliteStore::open(&path));
        one.expect("opens").close().await;
        old_data::check(&two.expect("opens")).await;
    }

    #[tokio::test]
    async fn a_database_of_the_second_schema_is_brought_up_to_date() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ejecta.db");
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true);
        let mut db = SqliteConnection::connect_with(&options)
            .await
            .expect("opens");
        migrator(&MIGRATIONS[..2])
            .run_direct(None, &mut db, false)
            .await
            .expect("the second schema");
        old_data::fill_second(&mut db).await;
        db.close().await.expect("closes");
        let store = SqliteStore::open(&path).await.expect("opens");
        old_data::check_second(&store).await;
    }

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
            "use the store: its schema is 99 and this version of ejecta knows 5 at most"
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
    async fn what_is_asked_often_reads_only_indexes() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(&dir.path().join("ejecta.db"))
            .await
            .expect("opens");
        let mut db = store.writer.acquire().await.expect("a connection");
        for (query, values, index) in [
            (claim::WAITING, 5, "jobs_queue"),
            (leases::EXPIRED, 2, "jobs_leases"),
            (results::FAILURES, 2, "jobs_errors"),
        ] {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
            let mut explained = sqlx::query_as(explain);
            for _ in 0..values {
                explained = explained.bind(1);
            }
            let plan: Vec<(i64, i64, i64, String)> =
                explained.fetch_all(&mut *db).await.expect("a plan");
            let text: Vec<&str> = plan.iter().map(|row| row.3.as_str()).collect();
            assert!(text.iter().any(|line| line.contains(index)), "{text:?}");
            assert!(
                !text.iter().any(|line| line.starts_with("SCAN")),
                "{text:?}"
            );
            assert!(
                !text.iter().any(|line| line.contains("TEMP B-TREE")),
                "{text:?}"
            );
        }
    }
}
