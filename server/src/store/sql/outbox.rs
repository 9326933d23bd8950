//! What is to be so on GitHub, and what is forgotten of that and of what came in.

use jiff::Timestamp;

use super::Connection;
use crate::bot::mailbox::{Due, EffectKey, Entry, When};
use crate::bot::model::Thread;
use crate::store::StoreError;
use crate::store::codec::{decode, encode, maybe_time, signed, small, time, unsigned};

pub(super) async fn put(
    db: &mut Connection,
    entries: &[Entry],
    now: Timestamp,
) -> Result<(), StoreError> {
    for entry in entries {
        put_one(db, entry, now).await?;
    }
    Ok(())
}

async fn put_one(db: &mut Connection, entry: &Entry, now: Timestamp) -> Result<(), StoreError> {
    let effect = encode(&entry.effect)?;
    let repo = entry.thread.repo.to_string();
    // Two coordinators may see the same last place: then the key decides.
    let last: Option<i64> = sqlx::query_scalar("SELECT max(place) FROM outbox")
        .fetch_one(&mut *db)
        .await?;
    let place = last.unwrap_or(0) + 1;
    if entry.when != When::IfKnown {
        let put = sqlx::query(
            "INSERT INTO outbox (key, repo, thread, effect, as_of, place, since)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (key) DO NOTHING",
        )
        .bind(&entry.key.0)
        .bind(&repo)
        .bind(signed(entry.thread.number))
        .bind(&effect)
        .bind(entry.as_of.as_millisecond())
        .bind(place)
        .bind(now.as_millisecond())
        .execute(&mut *db)
        .await?;
        if put.rows_affected() == 1 || entry.when == When::IfNew {
            return Ok(());
        }
    }
    sqlx::query(
        "UPDATE outbox SET repo = $1, thread = $2, effect = $3, version = version + 1,
             place = CASE WHEN ended IS NULL THEN place ELSE $4 END,
             due = CASE WHEN ended IS NULL THEN due ELSE 0 END, ended = NULL
         WHERE key = $5 AND as_of <= $6 AND effect <> $3",
    )
    .bind(&repo)
    .bind(signed(entry.thread.number))
    .bind(&effect)
    .bind(place)
    .bind(&entry.key.0)
    .bind(entry.as_of.as_millisecond())
    .execute(&mut *db)
    .await?;
    sqlx::query("UPDATE outbox SET as_of = $1 WHERE key = $2 AND as_of < $1")
        .bind(entry.as_of.as_millisecond())
        .bind(&entry.key.0)
        .execute(db)
        .await?;
    Ok(())
}

type Row = (
    String,
    String,
    i64,
    String,
    i64,
    i64,
    i64,
    i64,
    Option<i64>,
    i64,
);

pub(super) async fn take(
    db: &mut Connection,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Due>, StoreError> {
    let row: Option<Row> = sqlx::query_as(skipping!(
        "SELECT o.key, o.repo, o.thread, o.effect, o.as_of, o.version, o.taken, o.attempts,
             o.comment, o.since
         FROM outbox o
         WHERE o.ended IS NULL AND o.due <= $1 AND NOT EXISTS (
             SELECT 1 FROM outbox f
             WHERE f.ended IS NULL AND f.repo = o.repo AND f.thread = o.thread
                 AND (f.place, f.key) < (o.place, o.key))
         ORDER BY o.place, o.key LIMIT 1",
        "o"
    ))
    .bind(now.as_millisecond())
    .fetch_optional(&mut *db)
    .await?;
    let Some((key, repo, thread, effect, as_of, version, taken, attempts, comment, since)) = row
    else {
        return Ok(None);
    };
    sqlx::query("UPDATE outbox SET taken = taken + 1, due = $1 WHERE key = $2")
        .bind(until.as_millisecond())
        .bind(&key)
        .execute(db)
        .await?;
    let repo = repo
        .parse()
        .map_err(|error| StoreError::corrupt("a repository", error))?;
    Ok(Some(Due {
        entry: Entry {
            key: EffectKey(key),
            thread: Thread {
                repo,
                number: unsigned(thread),
            },
            effect: decode("an entry of the outbox", &effect)?,
            when: When::Always,
            as_of: time(as_of)?,
        },
        version: unsigned(version),
        taken: small(taken) + 1,
        attempts: small(attempts),
        comment: comment.map(unsigned),
        since: time(since)?,
    }))
}

pub(super) async fn begin(db: &mut Connection, taken: &Due) -> Result<bool, StoreError> {
    let begun = sqlx::query(
        "UPDATE outbox SET attempts = attempts + 1
         WHERE key = $1 AND taken = $2 AND ended IS NULL",
    )
    .bind(&taken.entry.key.0)
    .bind(i64::from(taken.taken))
    .execute(db)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// Puts what `taken` stands for off until a time, if it is still with the one who took it; says
/// whether it is. Holding it and giving it back are the same to others.
pub(super) async fn put_off(
    db: &mut Connection,
    taken: &Due,
    until: Timestamp,
    why: Option<&str>,
) -> Result<bool, StoreError> {
    let held = sqlx::query(
        "UPDATE outbox SET due = $1, error = coalesce($2, error)
         WHERE key = $3 AND taken = $4 AND ended IS NULL",
    )
    .bind(until.as_millisecond())
    .bind(why)
    .bind(&taken.entry.key.0)
    .bind(i64::from(taken.taken))
    .execute(db)
    .await?;
    Ok(held.rows_affected() == 1)
}

pub(super) async fn done(
    db: &mut Connection,
    taken: &Due,
    comment: Option<u64>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE outbox SET comment = $1 WHERE key = $2 AND $1 IS NOT NULL")
        .bind(comment.map(signed))
        .bind(&taken.entry.key.0)
        .execute(&mut *db)
        .await?;
    end(db, taken, None, now).await
}

/// Ends an entry, unless a newer version has come: that is due now.
pub(super) async fn end(
    db: &mut Connection,
    taken: &Due,
    why: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE outbox SET due = 0, error = $1, ended = CASE WHEN version = $2 THEN $3 END
         WHERE key = $4 AND taken = $5 AND ended IS NULL",
    )
    .bind(why)
    .bind(signed(taken.version))
    .bind(now.as_millisecond())
    .bind(&taken.entry.key.0)
    .bind(i64::from(taken.taken))
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn next_due(db: &mut Connection) -> Result<Option<Timestamp>, StoreError> {
    let due: Option<i64> = sqlx::query_scalar(
        "SELECT min(o.due) FROM outbox o
         WHERE o.ended IS NULL AND NOT EXISTS (
             SELECT 1 FROM outbox f
             WHERE f.ended IS NULL AND f.repo = o.repo AND f.thread = o.thread
                 AND (f.place, f.key) < (o.place, o.key))",
    )
    .fetch_one(db)
    .await?;
    maybe_time(due)
}

pub(super) async fn prune(db: &mut Connection, before: Timestamp) -> Result<u64, StoreError> {
    let mut forgotten = 0;
    for old in [
        "DELETE FROM deliveries WHERE seen < $1",
        // That the comment was there stays known: the delivery's id does not protect it for ever.
        "UPDATE inbox SET body = '' WHERE handled < $1 AND body <> ''",
        "DELETE FROM outbox WHERE ended < $1",
        "DELETE FROM tokens WHERE revoked < $1 OR expires < $1",
    ] {
        let deleted = sqlx::query(old)
            .bind(before.as_millisecond())
            .execute(&mut *db)
            .await?;
        forgotten += deleted.rows_affected();
    }
    Ok(forgotten)
}
