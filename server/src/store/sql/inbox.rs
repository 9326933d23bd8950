//! Comments that came in.

use jiff::Timestamp;

use super::Connection;
use crate::bot::mailbox::{Received, Waiting};
use crate::bot::model::{DeliveryId, Incoming};
use crate::store::StoreError;
use crate::store::codec::{decode, encode, maybe_time, signed, small};

pub(super) async fn receive(
    db: &mut Connection,
    delivery: &DeliveryId,
    incoming: &Incoming,
    now: Timestamp,
) -> Result<Received, StoreError> {
    let first = sqlx::query(
        "INSERT INTO deliveries (id, seen) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&delivery.0)
    .bind(now.as_millisecond())
    .execute(&mut *db)
    .await?;
    if first.rows_affected() == 0 {
        return Ok(Received::Repeated);
    }
    let kept = sqlx::query(
        "INSERT INTO inbox (repo, comment, body) VALUES ($1, $2, $3)
         ON CONFLICT (repo, comment) DO NOTHING",
    )
    .bind(incoming.thread.repo.to_string())
    .bind(signed(incoming.comment))
    .bind(encode(incoming)?)
    .execute(db)
    .await?;
    Ok(match kept.rows_affected() {
        0 => Received::Repeated,
        _ => Received::New,
    })
}

pub(super) async fn take(
    db: &mut Connection,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Waiting>, StoreError> {
    let row: Option<(i64, String, i64)> = sqlx::query_as(skipping!(
        "SELECT i.number, i.body, i.attempts FROM inbox i
         WHERE i.handled IS NULL AND i.due <= $1 ORDER BY i.number LIMIT 1",
        "i"
    ))
    .bind(now.as_millisecond())
    .fetch_optional(&mut *db)
    .await?;
    let Some((number, body, attempts)) = row else {
        return Ok(None);
    };
    sqlx::query("UPDATE inbox SET attempts = attempts + 1, due = $1 WHERE number = $2")
        .bind(until.as_millisecond())
        .bind(number)
        .execute(db)
        .await?;
    Ok(Some(Waiting {
        incoming: decode("a comment", &body)?,
        attempts: small(attempts) + 1,
    }))
}

/// Puts what `taken` stands for off until a time, if it is still with the one who took it; says
/// whether it is. Holding it and giving it back are the same to others.
pub(super) async fn put_off(
    db: &mut Connection,
    taken: &Waiting,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let held = sqlx::query(
        "UPDATE inbox SET due = $1
         WHERE repo = $2 AND comment = $3 AND attempts = $4 AND handled IS NULL",
    )
    .bind(until.as_millisecond())
    .bind(taken.incoming.thread.repo.to_string())
    .bind(signed(taken.incoming.comment))
    .bind(i64::from(taken.attempts))
    .execute(db)
    .await?;
    Ok(held.rows_affected() == 1)
}

pub(super) async fn handled(
    db: &mut Connection,
    taken: &Waiting,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE inbox SET handled = $1 WHERE repo = $2 AND comment = $3 AND handled IS NULL",
    )
    .bind(now.as_millisecond())
    .bind(taken.incoming.thread.repo.to_string())
    .bind(signed(taken.incoming.comment))
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn next_due(db: &mut Connection) -> Result<Option<Timestamp>, StoreError> {
    let due: Option<i64> = sqlx::query_scalar("SELECT min(due) FROM inbox WHERE handled IS NULL")
        .fetch_one(db)
        .await?;
    maybe_time(due)
}
