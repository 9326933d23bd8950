//! Jobs that go back into the queue by the will of a person, or because their agents are gone.

use sqlx::QueryBuilder;

use super::counters::Deltas;
use super::{Connection, Database};
use crate::store::{Requeue, StoreError};

/// Jobs changed by one statement.
const AT_ONCE: usize = 5000;

/// Puts jobs of an experiment, whose row is held, back into the queue; says how many.
pub(super) async fn put_back(
    db: &mut Connection,
    experiment: i64,
    what: Requeue<'_>,
) -> Result<u64, StoreError> {
    let (agent, state) = match what {
        Requeue::Leased => (None, "leased"),
        Requeue::LeasedTo(agent) => (Some(agent), "leased"),
        Requeue::GivenUp => (None, "error"),
    };
    let jobs: Vec<(i64, i64)> = sqlx::query_as(locking!(
        "SELECT j.id, j.tier FROM jobs j
         WHERE j.experiment_id = $1 AND j.state = $2 AND (j.agent = $3 OR $3 IS NULL)
         ORDER BY j.id",
        "j"
    ))
    .bind(experiment)
    .bind(state)
    .bind(agent)
    .fetch_all(&mut *db)
    .await?;
    let mut deltas = Deltas::default();
    for (_, tier) in &jobs {
        deltas.moved(experiment, *tier, state, "queued");
    }
    for chunk in jobs.chunks(AT_ONCE) {
        for statement in statements(what) {
            let mut change = QueryBuilder::<Database>::new(*statement);
            change.push(" IN (");
            let mut ids = change.separated(", ");
            for (id, _) in chunk {
                ids.push_bind(*id);
            }
            change.push(")");
            change.build().persistent(false).execute(&mut *db).await?;
        }
    }
    deltas.apply(db, experiment).await?;
    Ok(jobs.len() as u64)
}

/// What is done to the jobs; each is followed by their ids.
fn statements(what: Requeue<'_>) -> &'static [&'static str] {
    match what {
        Requeue::Leased | Requeue::LeasedTo(_) => &[
            "UPDATE jobs SET state = 'queued', lease = NULL, lease_until = NULL,
                 attempts = attempts - 1
             WHERE id",
        ],
        Requeue::GivenUp => &[
            "UPDATE jobs SET state = 'queued', attempts = 0, losses = 0 WHERE id",
            "DELETE FROM setbacks WHERE job_id",
        ],
    }
}
