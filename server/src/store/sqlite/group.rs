//! Commits for many: what is asked for while a transaction is under way is done in the next one,
//! all of it together.
//!
//! A commit waits for the disk, as long for a hundred changes as for one. Nobody waits for others to
//! come along: what is there is taken. A change is answered once its transaction is committed, and
//! where anything in a transaction fails all of it is taken back, and each change is made by itself.
//! So one that cannot be made spoils no other, and each error goes to whom it belongs.

use async_trait::async_trait;
use sqlx::SqlitePool;
use tokio::sync::{mpsc, oneshot};

use super::work::Work;
use super::{Connection, begin};
use crate::store::StoreError;

/// The most changes of one transaction: others want to write, too.
const AT_ONCE: usize = 64;
/// Changes that wait, before those who ask wait to be heard.
const WAITING: usize = 4096;

/// Where changes are handed in. The task that makes them ends when nobody can any more.
#[derive(Debug, Clone)]
pub(super) struct Group(mpsc::Sender<Box<dyn Member>>);

impl Group {
    /// Starts a task that makes changes on `writer`.
    pub(super) fn start(writer: SqlitePool) -> Self {
        let (asked, mut waiting) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let mut members = Vec::new();
            while waiting.recv_many(&mut members, AT_ONCE).await > 0 {
                let batch = make(writer.clone(), std::mem::take(&mut members));
                // A panic is that of one batch. Its members see that nobody will answer.
                if let Err(error) = tokio::spawn(batch).await {
                    tracing::error!(%error, "a transaction panicked");
                }
            }
        });
        Self(asked)
    }

    /// Makes a change; what this answers is durable.
    pub(super) async fn change<W: Work>(&self, work: W) -> Result<W::Done, StoreError> {
        let (tell, told) = oneshot::channel();
        let member = Asked {
            work,
            done: None,
            tell,
        };
        let gone = || StoreError::Unavailable {
            source: "whoever writes has stopped".into(),
        };
        self.0.send(Box::new(member)).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

/// A change that somebody waits for.
#[async_trait]
trait Member: Send {
    /// Makes it, and keeps what came of it to itself; says whether it was made.
    async fn run(&mut self, db: &mut Connection) -> bool;

    /// Says what came of it, now that this is so; or `failed`, if that happened.
    fn tell(self: Box<Self>, failed: Option<StoreError>);
}

struct Asked<W: Work> {
    work: W,
    done: Option<Result<W::Done, StoreError>>,
    tell: oneshot::Sender<Result<W::Done, StoreError>>,
}

#[async_trait]
impl<W: Work> Member for Asked<W> {
    async fn run(&mut self, db: &mut Connection) -> bool {
        let done = self.work.run(db).await;
        let made = done.is_ok();
        self.done = Some(done);
        made
    }

    fn tell(self: Box<Self>, failed: Option<StoreError>) {
        let told = match (failed, self.done) {
            (Some(error), _) => Err(error),
            (None, Some(done)) => done,
            // Nobody is told before it ran.
            (None, None) => return,
        };
        // Whoever has asked may have gone, and what was done stays done.
        let _ = self.tell.send(told);
    }
}

async fn make(writer: SqlitePool, mut members: Vec<Box<dyn Member>>) {
    if members.len() > 1 {
        match together(&writer, &mut members).await {
            Ok(true) => return members.into_iter().for_each(|member| member.tell(None)),
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "changes are made one by one"),
        }
    }
    for mut member in members {
        let failed = alone(&writer, &mut *member).await.err();
        member.tell(failed);
    }
}

/// Makes all changes in one transaction, or none of them.
async fn together(
    writer: &SqlitePool,
    members: &mut [Box<dyn Member>],
) -> Result<bool, StoreError> {
    let mut tx = begin(writer).await?;
    for member in members {
        if !member.run(&mut tx).await {
            tx.rollback().await?;
            return Ok(false);
        }
    }
    tx.commit().await?;
    Ok(true)
}

/// Makes one change.
async fn alone(writer: &SqlitePool, member: &mut dyn Member) -> Result<(), StoreError> {
    let mut tx = begin(writer).await?;
    match member.run(&mut tx).await {
        true => tx.commit().await?,
        false => tx.rollback().await?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ErrorClass, SqliteStore};

    /// Writes a row down that must be the only one of its number.
    struct Row(i64);

    #[async_trait]
    impl Work for Row {
        type Done = i64;

        async fn run(&self, db: &mut Connection) -> Result<i64, StoreError> {
            let mut insert = sqlx::query("INSERT INTO rows (number) VALUES ($1)");
            insert = insert.bind(self.0);
            insert.execute(&mut *db).await?;
            Ok(sqlx::query_scalar("SELECT count(*) FROM rows")
                .fetch_one(db)
                .await?)
        }
    }

    struct Panics;

    #[async_trait]
    impl Work for Panics {
        type Done = ();

        async fn run(&self, _: &mut Connection) -> Result<(), StoreError> {
            panic!("as a mistake would");
        }
    }

    async fn store() -> (tempfile::TempDir, SqliteStore) {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(&dir.path().join("ejecta.db")).await;
        let store = store.expect("opens");
        sqlx::query("CREATE TABLE rows (number INTEGER PRIMARY KEY)")
            .execute(&store.writer)
            .await
            .expect("made");
        (dir, store)
    }

    /// What a connection of its own sees.
    async fn rows(store: &SqliteStore) -> Vec<i64> {
        let read = sqlx::query_scalar("SELECT number FROM rows ORDER BY number");
        read.fetch_all(&store.readers).await.expect("read")
    }

    /// Holds the writer until many wait, so that they are one batch.
    async fn at_once(store: &SqliteStore, numbers: &[i64]) -> Vec<Result<i64, StoreError>> {
        let held = begin(&store.writer).await.expect("a transaction");
        let mut asked = Vec::new();
        for number in numbers {
            let (group, row) = (store.group.clone(), Row(*number));
            asked.push(tokio::spawn(async move { group.change(row).await }));
            // In this order.
            tokio::task::yield_now().await;
        }
        held.rollback().await.expect("given back");
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(answer.await.expect("no panic"));
        }
        answers
    }

    #[tokio::test]
    async fn changes_of_one_moment_see_each_other_and_are_there_when_they_are_answered() {
        let (_dir, store) = store().await;
        let numbers: Vec<i64> = (0..200).collect();
        let answers = at_once(&store, &numbers).await;
        let counts: Vec<i64> = answers.into_iter().map(|a| a.expect("made")).collect();
        assert_eq!(counts, (1..=200).collect::<Vec<i64>>());
        assert_eq!(rows(&store).await, numbers);
    }

    #[tokio::test]
    async fn one_that_cannot_be_made_spoils_no_other() {
        let (_dir, store) = store().await;
        let answers = at_once(&store, &[1, 2, 2, 3, 1, 4]).await;
        let classes: Vec<Option<ErrorClass>> = answers
            .iter()
            .map(|answer| answer.as_ref().err().map(StoreError::class))
            .collect();
        let bug = Some(ErrorClass::Bug);
        assert_eq!(classes, [None, None, bug, None, bug, None]);
        assert_eq!(rows(&store).await, [1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn a_panic_is_that_of_its_batch() {
        let (_dir, store) = store().await;
        let error = store.group.change(Panics).await.expect_err("a panic");
        assert_eq!(error.class(), ErrorClass::Transient, "{error}");
        store.group.change(Row(1)).await.expect("made");
        assert_eq!(rows(&store).await, [1]);
    }

    #[tokio::test]
    async fn who_asks_a_store_that_was_closed_is_told() {
        let (_dir, store) = store().await;
        store.close().await;
        let error = store.group.change(Row(1)).await.expect_err("closed");
        assert_eq!(error.class(), ErrorClass::Transient, "{error}");
    }
}
