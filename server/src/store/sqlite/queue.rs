//! The queue: granting, extending, giving back.

use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::{self, JobId, LeaseId};
use ejecta_core::plan::PlanEntry;
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::{decode, experiment_id, experiment_name, results, tier};
use crate::store::{
    Claim, Claimed, Granted, Heartbeat, LeasedJob, Lost, Released, Setback, StoreError,
};

/// The first jobs that wait, at most as many as its one value says.
pub(super) const QUEUED: &str = "
    SELECT j.experiment_id, j.tier, j.attempts, j.position, j.id, e.name, p.entry, j.agent
    FROM jobs j
    JOIN experiments e ON e.id = j.experiment_id
    JOIN plan p ON p.experiment_id = j.experiment_id AND p.position = j.position
    WHERE j.state = 'queued'
    ORDER BY j.experiment_id, j.tier, j.attempts, j.position
    LIMIT ?";

/// All jobs whose lease ended at or before its one value.
pub(super) const EXPIRED: &str = "
    SELECT j.experiment_id, j.tier, j.attempts, j.position, j.id, e.name, p.entry, j.agent
    FROM jobs j
    JOIN experiments e ON e.id = j.experiment_id
    JOIN plan p ON p.experiment_id = j.experiment_id AND p.position = j.position
    WHERE j.state = 'leased' AND j.lease_until <= ?";

/// A row of [`QUEUED`] and [`EXPIRED`].
type Row = (i64, i64, u32, i64, i64, String, String, Option<String>);

/// A job that can be granted.
#[derive(Debug)]
struct Waiting {
    /// Its place in the queue: experiment, tier, attempts so far, position in the plan.
    place: (i64, i64, u32, i64),
    id: i64,
    experiment: ExperimentName,
    entry: PlanEntry,
    agent: Option<String>,
}

impl Waiting {
    fn from_row(row: Row) -> Result<Self, StoreError> {
        let (experiment, tier, attempts, position, id, name, entry, agent) = row;
        Ok(Self {
            place: (experiment, tier, attempts, position),
            id,
            experiment: experiment_name(name)?,
            entry: decode("an entry of a plan", &entry)?,
            agent,
        })
    }

    fn attempts(&self) -> u32 {
        self.place.2
    }

    /// The lease that this job has lost.
    fn lost(&self, given_up: bool) -> Result<Lost, StoreError> {
        Ok(Lost {
            experiment: self.experiment.clone(),
            job: JobId {
                krate: self.entry.krate.id(),
                tier: tier(self.place.1)?,
            },
            agent: self.agent.clone().unwrap_or_default(),
            attempt: self.attempts(),
            given_up,
        })
    }
}

pub(super) async fn claim(
    db: &mut SqliteConnection,
    claim: &Claim<'_>,
) -> Result<Claimed, StoreError> {
    let mut lost = Vec::new();
    let mut waiting = Vec::new();
    for job in waiting_jobs(db, EXPIRED, claim.now.as_millisecond()).await? {
        if job::may_retry(job.attempts()) {
            waiting.push(job);
        } else {
            let message = format!(
                "lease expired: agent `{}` was not heard of in time, in attempt {} of {}",
                job.agent.as_deref().unwrap_or_default(),
                job.attempts(),
                job::MAX_ATTEMPTS
            );
            give_up(db, job.id, &message).await?;
            lost.push(job.lost(true)?);
        }
    }
    let expired: Vec<i64> = waiting.iter().map(|job| job.id).collect();
    let wanted = i64::try_from(claim.leases.len()).unwrap_or(i64::MAX);
    waiting.extend(waiting_jobs(db, QUEUED, wanted).await?);
    waiting.sort_by_key(|job| job.place);

    let mut granted = Vec::new();
    for (job, lease) in waiting.into_iter().zip(claim.leases) {
        if expired.contains(&job.id) {
            lost.push(job.lost(false)?);
        }
        granted.push(grant(db, job, lease, claim).await?);
    }
    let unfinished: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(jobs), 0) FROM job_counts WHERE state IN ('queued', 'leased')",
    )
    .fetch_one(db)
    .await?;
    Ok(Claimed {
        granted,
        lost,
        unfinished: unfinished.unsigned_abs(),
    })
}

async fn waiting_jobs(
    db: &mut SqliteConnection,
    query: &'static str,
    value: i64,
) -> Result<Vec<Waiting>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(query).bind(value).fetch_all(db).await?;
    rows.into_iter().map(Waiting::from_row).collect()
}

async fn grant(
    db: &mut SqliteConnection,
    job: Waiting,
    lease: &LeaseId,
    claim: &Claim<'_>,
) -> Result<Granted, StoreError> {
    let attempt = job.attempts() + 1;
    sqlx::query(
        "UPDATE jobs SET state = 'leased', attempts = ?, lease = ?, lease_until = ?, agent = ?
         WHERE id = ?",
    )
    .bind(attempt)
    .bind(&lease.0)
    .bind(claim.until.as_millisecond())
    .bind(claim.agent)
    .bind(job.id)
    .execute(db)
    .await?;
    Ok(Granted {
        lease: lease.clone(),
        attempt,
        tier: tier(job.place.1)?,
        experiment: job.experiment,
        krate: job.entry.krate,
        options: job.entry.options,
    })
}

async fn give_up(db: &mut SqliteConnection, id: i64, message: &str) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE jobs SET state = 'error', error = ?, lease = NULL, lease_until = NULL WHERE id = ?",
    )
    .bind(message)
    .bind(id)
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn heartbeat(
    db: &mut SqliteConnection,
    leases: &[LeaseId],
    until: Timestamp,
) -> Result<Heartbeat, StoreError> {
    let mut extended = Vec::new();
    let mut lost = Vec::new();
    for lease in leases {
        let found =
            sqlx::query("UPDATE jobs SET lease_until = ? WHERE lease = ? AND state = 'leased'")
                .bind(until.as_millisecond())
                .bind(&lease.0)
                .execute(&mut *db)
                .await?
                .rows_affected();
        let side = if found == 1 { &mut extended } else { &mut lost };
        side.push(lease.clone());
    }
    Ok(Heartbeat { extended, lost })
}

pub(super) async fn leased_job(
    db: &mut SqliteConnection,
    lease: &LeaseId,
) -> Result<Option<LeasedJob>, StoreError> {
    type Found = (String, String, i64, Option<String>, u32, String);
    let row: Option<Found> = sqlx::query_as(
        "SELECT e.name, p.entry, j.tier, j.agent, j.attempts, j.state
         FROM jobs j
         JOIN experiments e ON e.id = j.experiment_id
         JOIN plan p ON p.experiment_id = j.experiment_id AND p.position = j.position
         WHERE j.lease = ?",
    )
    .bind(&lease.0)
    .fetch_optional(db)
    .await?;
    let Some((name, entry, number, agent, attempt, state)) = row else {
        return Ok(None);
    };
    let entry: PlanEntry = decode("an entry of a plan", &entry)?;
    Ok(Some(LeasedJob {
        experiment: experiment_name(name)?,
        job: JobId {
            krate: entry.krate.id(),
            tier: tier(number)?,
        },
        agent: agent.unwrap_or_default(),
        attempt,
        finished: state == "finished",
    }))
}

pub(super) async fn release(
    db: &mut SqliteConnection,
    lease: &LeaseId,
    why: Setback<'_>,
) -> Result<Released, StoreError> {
    let row: Option<(i64, i64, u32)> = sqlx::query_as(
        "SELECT id, experiment_id, attempts FROM jobs WHERE lease = ? AND state = 'leased'",
    )
    .bind(&lease.0)
    .fetch_optional(&mut *db)
    .await?;
    let Some((id, experiment, attempts)) = row else {
        return Ok(Released::Stale);
    };
    let (error, counted) = match why {
        Setback::Unstarted => (None, false),
        Setback::Transient(error) if job::may_retry(attempts) => (Some(error), true),
        Setback::Transient(error) | Setback::Permanent(error) => {
            give_up(db, id, error).await?;
            return Ok(Released::GivenUp(results::counts(db, experiment).await?));
        }
    };
    sqlx::query(
        "UPDATE jobs SET state = 'queued', lease = NULL, lease_until = NULL,
             attempts = attempts - ?, error = coalesce(?, error)
         WHERE id = ?",
    )
    .bind(i64::from(!counted))
    .bind(error)
    .bind(id)
    .execute(&mut *db)
    .await?;
    Ok(Released::Requeued(results::counts(db, experiment).await?))
}

pub(super) async fn requeue_leased(
    db: &mut SqliteConnection,
    name: &ExperimentName,
) -> Result<u64, StoreError> {
    let id = experiment_id(db, name).await?;
    let requeued = sqlx::query(
        "UPDATE jobs SET state = 'queued', lease = NULL, lease_until = NULL,
             attempts = attempts - 1
         WHERE experiment_id = ? AND state = 'leased'",
    )
    .bind(id)
    .execute(db)
    .await?;
    Ok(requeued.rows_affected())
}

pub(super) async fn requeue_given_up(
    db: &mut SqliteConnection,
    name: &ExperimentName,
) -> Result<u64, StoreError> {
    let id = experiment_id(db, name).await?;
    let requeued = sqlx::query(
        "UPDATE jobs SET state = 'queued', attempts = 0
         WHERE experiment_id = ? AND state = 'error'",
    )
    .bind(id)
    .execute(db)
    .await?;
    Ok(requeued.rows_affected())
}
