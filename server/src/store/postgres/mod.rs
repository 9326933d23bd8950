//! The store on PostgreSQL 14 or newer: one database for any number of coordinators.
//!
//! Every verb is one transaction at the level `READ COMMITTED`. Rows are locked before they are
//! changed, jobs before counters, and whoever looks for work skips what others hold, so claims do
//! not wait for each other. Where two transactions get in each other's way all the same the
//! database takes one back, and it is tried again.

use std::str::FromStr as _;
use std::time::Duration;

use ejecta_core::experiment::ExperimentName;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Postgres, SqlSafeStr as _, Transaction};

use super::StoreError;
use super::error::migration_error;
use work::Work;

/// A query whose rows are held until the transaction ends.
macro_rules! locking {
    ($sql:expr, $of:literal) => {
        concat!($sql, " FOR UPDATE OF ", $of)
    };
}

/// A query whose rows are held, and that leaves out those that others hold.
macro_rules! skipping {
    ($sql:expr, $of:literal) => {
        concat!($sql, " FOR UPDATE OF ", $of, " SKIP LOCKED")
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

type Database = Postgres;
type Connection = PgConnection;
type Backend = PostgresStore;

/// Rows of each counter: transactions of different jobs seldom wait for one another.
const SHARDS: i64 = 8;

/// The migrations, as (version, description, SQL). Those of a release are never changed, only
/// added to.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        1,
        "kernel",
        include_str!("../../../migrations/postgres/0001_kernel.sql"),
    ),
    (
        2,
        "fleet",
        include_str!("../../../migrations/postgres/0002_fleet.sql"),
    ),
    (
        3,
        "service",
        include_str!("../../../migrations/postgres/0003_service.sql"),
    ),
    (
        4,
        "mail",
        include_str!("../../../migrations/postgres/0004_mail.sql"),
    ),
    (
        5,
        "watching",
        include_str!("../../../migrations/postgres/0005_watching.sql"),
    ),
];

/// How long a call waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that was idle for so long is asked whether it is still there.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// Plans of more entries than this are told to the planner.
const MANY: usize = 1000;

/// Above the number of an experiment: the name of its advisory lock.
const LOCKS: i64 = 0x656a_6563_0000_0000;

/// The advisory lock of those who bring the schema up to date.
const MIGRATION_LOCK: i64 = LOCKS - 1;

/// A store in one PostgreSQL database. Dropping it without [`PostgresStore::close`] loses nothing.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    /// Opens the database at `url` (`postgres://user:password@host/database`), which must be
    /// there, with at most `connections` connections at once; brings it to the newest schema.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a newer version of Ejecta wrote it;
    /// [`StoreError::Unusable`] when the address is wrong, or the user may not use the database;
    /// [`StoreError::Unavailable`] when the server does not answer.
    pub async fn open(url: &SecretString, connections: u32) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url.expose_secret())
            .map_err(|error| StoreError::Unusable {
                source: error.into(),
            })?
            .application_name("ejecta")
            // An agent throws its own copy of a result away once it is acknowledged.
            .options([("synchronous_commit", "on")]);
        migrate(&options).await?;
        let pool = PgPoolOptions::new()
            .max_connections(connections.max(2))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // One that was used a moment ago is there still, or its next statement says that it is
            // not: asking each time would cost every call a round trip more.
            .test_before_acquire(false)
            .before_acquire(|db, about| {
                Box::pin(async move { Ok(about.idle_for < ASK_AFTER || db.ping().await.is_ok()) })
            })
            .connect_with(options)
            .await?;
        Ok(Self { pool })
    }

    /// Waits for running calls and closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn write(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        Ok(self.pool.begin().await?)
    }

    /// Makes a change. Transactions of several connections share their commits by themselves.
    async fn change<W: Work>(&self, work: W) -> Result<W::Done, StoreError> {
        verbs::writing!(self, |db| work.run(&mut db))
    }

    /// A connection to read by, each statement from the moment in which it begins.
    async fn read(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        Ok(self.pool.acquire().await?)
    }

    /// A transaction that sees one moment.
    async fn snapshot(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        Ok(self.pool.begin_with(begin).await?)
    }
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
    let mut migrator = Migrator::with_migrations(migrations);
    // The lock is taken before, for the rest of the work too.
    migrator.set_locking(false);
    migrator
}

/// Brings the schema up to date on a connection of its own, whose end gives the lock back whatever
/// happens: another coordinator that starts at the same time waits for it.
async fn migrate(options: &PgConnectOptions) -> Result<(), StoreError> {
    let mut db = PgConnection::connect_with(options).await?;
    let mut tx = db.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(MIGRATION_LOCK)
        .execute(&mut *tx)
        .await?;
    migrator(MIGRATIONS)
        .run_direct(None, &mut *tx, false)
        .await
        .map_err(|error| migration_error(error, MIGRATIONS.len()))?;
    while results::judge_old(&mut tx).await? {}
    tx.commit().await?;
    Ok(db.close().await?)
}

/// The row of the experiment called `name`.
async fn experiment_id(db: &mut Connection, name: &ExperimentName) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT id FROM experiments WHERE name = $1")
        .bind(name.as_str())
        .fetch_optional(db)
        .await?
        .ok_or_else(|| StoreError::UnknownExperiment(name.clone()))
}

/// Tells the planner of many new rows; until it knows of them it may read the whole queue for one
/// job.
async fn analyze(db: &mut Connection, rows: usize) -> Result<(), StoreError> {
    if rows > MANY {
        for table in ["ANALYZE plan", "ANALYZE jobs"] {
            sqlx::query(table).execute(&mut *db).await?;
        }
    }
    Ok(())
}

/// Says that a result is about to be numbered, until the transaction ends.
async fn announce(db: &mut Connection, experiment: i64) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock_shared($1)")
        .bind(LOCKS + experiment)
        .execute(db)
        .await?;
    Ok(())
}

/// The newest result's number, below which none is still to come.
///
/// Numbers are given in order, but transactions do not end in that order. Whoever was given a
/// number has announced itself before: once all who had at this moment are through, no number
/// below the newest one is missing.
async fn settle(db: &mut Connection, experiment: i64) -> Result<i64, StoreError> {
    let newest: Option<i64> =
        sqlx::query_scalar("SELECT max(number) FROM records WHERE experiment_id = $1")
            .bind(experiment)
            .fetch_one(&mut *db)
            .await?;
    // Given back as soon as it is had.
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCKS + experiment)
        .execute(db)
        .await?;
    Ok(newest.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use ejecta_test_support::Postgres;

    use super::*;

    #[tokio::test]
    async fn a_database_of_the_first_schema_is_brought_up_to_date() {
        let made = tokio::task::spawn_blocking(Postgres::database_or_skip).await;
        let Some(url) = made.expect("no panic") else {
            return;
        };
        let mut db = PgConnection::connect(&url).await.expect("connects");
        migrator(&MIGRATIONS[..1])
            .run_direct(None, &mut db, false)
            .await
            .expect("the first schema");
        old_data::fill(&mut db).await;
        db.close().await.expect("closes");
        let url = SecretString::from(url);
        let (one, two) = tokio::join!(PostgresStore::open(&url, 2), PostgresStore::open(&url, 2));
        one.expect("opens").close().await;
        old_data::check(&two.expect("opens")).await;
    }

    #[tokio::test]
    async fn a_database_of_the_second_schema_is_brought_up_to_date() {
        let made = tokio::task::spawn_blocking(Postgres::database_or_skip).await;
        let Some(url) = made.expect("no panic") else {
            return;
        };
        let mut db = PgConnection::connect(&url).await.expect("connects");
        migrator(&MIGRATIONS[..2])
            .run_direct(None, &mut db, false)
            .await
            .expect("the second schema");
        old_data::fill_second(&mut db).await;
        db.close().await.expect("closes");
        let store = PostgresStore::open(&SecretString::from(url), 2).await;
        old_data::check_second(&store.expect("opens")).await;
    }

    #[tokio::test]
    async fn commits_are_durable() {
        let made = tokio::task::spawn_blocking(Postgres::database_or_skip).await;
        let Some(url) = made.expect("no panic") else {
            return;
        };
        let store = PostgresStore::open(&SecretString::from(url), 2)
            .await
            .expect("opens");
        let mut db = store.read().await.expect("a connection");
        let setting: String = sqlx::query_scalar("SHOW synchronous_commit")
            .fetch_one(&mut *db)
            .await
            .expect("a setting");
        assert_eq!(setting, "on", "whatever the server's own setting is");
    }
}
