//! The outbox, deliveries, and what is forgotten of both.

use jiff::Timestamp;

use super::Connection;
use crate::store::codec::{decode, encode, small};
use crate::store::{Message, MessageEnd, NewMessage, StoreError};

pub(super) async fn put(db: &mut Connection, message: &NewMessage<'_>) -> Result<bool, StoreError> {
    let put = sqlx::query(
        "INSERT INTO outbox (key, kind, body, due) VALUES ($1, $2, $3, $4)
         ON CONFLICT (key) DO NOTHING",
    )
    .bind(message.key)
    .bind(message.kind)
    .bind(encode(message.body)?)
    .bind(message.due.as_millisecond())
    .execute(db)
    .await?;
    Ok(put.rows_affected() == 1)
}

pub(super) async fn take(
    db: &mut Connection,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<Message>, StoreError> {
    type Row = (String, String, String, i64, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(skipping!(
        "SELECT o.key, o.kind, o.body, o.taken, o.error FROM outbox o
         WHERE o.done IS NULL AND o.due <= $1 ORDER BY o.due, o.key LIMIT $2",
        "o"
    ))
    .bind(now.as_millisecond())
    .bind(i64::from(limit))
    .fetch_all(&mut *db)
    .await?;
    let mut messages = Vec::with_capacity(rows.len());
    for (key, kind, body, taken, error) in rows {
        sqlx::query("UPDATE outbox SET taken = taken + 1, due = $1 WHERE key = $2")
            .bind(until.as_millisecond())
            .bind(&key)
            .execute(&mut *db)
            .await?;
        messages.push(Message {
            body: decode("a message", &body)?,
            key,
            kind,
            taken: small(taken) + 1,
            error,
        });
    }
    Ok(messages)
}

pub(super) async fn end(
    db: &mut Connection,
    key: &str,
    taken: u32,
    end: MessageEnd<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (error, due, done) = match end {
        MessageEnd::Done => (None, None, Some(now.as_millisecond())),
        MessageEnd::Retry { error, due } => (Some(error), Some(due.as_millisecond()), None),
    };
    let ended = sqlx::query(
        "UPDATE outbox SET error = coalesce($1, error), due = coalesce($2, due), done = $3
         WHERE key = $4 AND taken = $5 AND done IS NULL",
    )
    .bind(error)
    .bind(due)
    .bind(done)
    .bind(key)
    .bind(i64::from(taken))
    .execute(db)
    .await?;
    Ok(ended.rows_affected() == 1)
}

pub(super) async fn remember_delivery(
    db: &mut Connection,
    id: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let first = sqlx::query(
        "INSERT INTO deliveries (id, seen) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(now.as_millisecond())
    .execute(db)
    .await?;
    Ok(first.rows_affected() == 1)
}

pub(super) async fn prune(db: &mut Connection, before: Timestamp) -> Result<u64, StoreError> {
    let mut forgotten = 0;
    for old in [
        "DELETE FROM deliveries WHERE seen < $1",
        "DELETE FROM outbox WHERE done < $1",
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
