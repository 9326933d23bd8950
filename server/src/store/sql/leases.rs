//! Leases: extended, looked up, given back, taken away.

use std::collections::BTreeMap;

use ejecta_core::experiment::ExperimentName;
use ejecta_core::job::{self, JobId, LeaseId};
use ejecta_core::limits::Limits;
use ejecta_core::plan::PlanEntry;
use ejecta_core::queue::{self, AfterLoss};
use jiff::Timestamp;
use sqlx::QueryBuilder;

use super::counters::{self, Deltas};
use super::{Connection, Database};
use crate::store::codec::{self, decode, experiment_name, small, tier, unsigned};
use crate::store::{
    Beats, Expired, Heartbeat, LeasedJob, Loss, Lost, Released, Setback, StoreError,
};

/// Leases taken away by one call, at most.
const EXPIRED_AT_ONCE: i64 = 500;
/// Leases looked up by one statement.
const LEASES_AT_ONCE: usize = 1000;

/// Jobs whose lease ended at or before its first value, at most as many as the second.
pub(super) const EXPIRED: &str = skipping!(
    "SELECT j.id, j.experiment_id, j.tier, j.attempts, j.losses, j.agent, e.name, p.entry
     FROM jobs j
     JOIN experiments e ON e.id = j.experiment_id
     JOIN plan p ON p.experiment_id = j.experiment_id AND p.position = j.position
     WHERE j.state = 'leased' AND j.lease_until <= $1
     ORDER BY j.lease_until, j.id
     LIMIT $2",
    "j"
);

type LostRow = (i64, i64, i64, i64, i64, Option<String>, String, String);

/// A leased job that is about to be lost.
struct Losing {
    id: i64,
    experiment_id: i64,
    tier: i64,
    attempts: u32,
    losses: u32,
    agent: String,
    experiment: String,
    entry: PlanEntry,
}

impl Losing {
    fn from_row(row: LostRow) -> Result<Self, StoreError> {
        let (id, experiment_id, tier, attempts, losses, agent, experiment, entry) = row;
        Ok(Self {
            id,
            experiment_id,
            tier,
            attempts: small(attempts),
            losses: small(losses),
            agent: agent.unwrap_or_default(),
            experiment,
            entry: decode("an entry of a plan", &entry)?,
        })
    }
}

/// Takes expired leases away; the counters are left to the caller.
pub(super) async fn expire_some(
    db: &mut Connection,
    now: Timestamp,
    deltas: &mut Deltas,
) -> Result<Vec<Lost>, StoreError> {
    let rows: Vec<LostRow> = sqlx::query_as(EXPIRED)
        .bind(now.as_millisecond())
        .bind(EXPIRED_AT_ONCE)
        .fetch_all(&mut *db)
        .await?;
    let mut lost = Vec::with_capacity(rows.len());
    for row in rows {
        lost.push(lose(db, Losing::from_row(row)?, Loss::Silent, deltas).await?);
    }
    Ok(lost)
}

/// Takes a lease away. One that merely ran out may still hand its work in until the job is granted
/// anew.
async fn lose(
    db: &mut Connection,
    job: Losing,
    why: Loss,
    deltas: &mut Deltas,
) -> Result<Lost, StoreError> {
    let losses = job.losses + 1;
    sqlx::query(
        "INSERT INTO setbacks (job_id, agent, attempt) VALUES ($1, $2, $3)
         ON CONFLICT (job_id, agent) DO UPDATE SET attempt = excluded.attempt",
    )
    .bind(job.id)
    .bind(&job.agent)
    .bind(i64::from(job.attempts))
    .execute(&mut *db)
    .await?;
    let then = queue::after_loss(job.attempts, losses);
    let (agent, attempts, max) = (&job.agent, job.attempts, job::MAX_ATTEMPTS);
    let error = match (then, why) {
        (AfterLoss::Quarantine, _) => {
            let agents: Vec<String> =
                sqlx::query_scalar("SELECT agent FROM setbacks WHERE job_id = $1 ORDER BY attempt")
                    .bind(job.id)
                    .fetch_all(&mut *db)
                    .await?;
            queue::quarantine_message(losses, &agents)
        }
        (AfterLoss::Requeue | AfterLoss::GiveUp, Loss::Silent) => format!(
            "lease expired: agent `{agent}` was not heard of in time, in attempt {attempts} of {max}"
        ),
        (AfterLoss::Requeue | AfterLoss::GiveUp, Loss::Stuck) => format!(
            "lease taken away: agent `{agent}` made no progress, in attempt {attempts} of {max}"
        ),
    };
    let (state, keeps_lapsed) = match then {
        AfterLoss::Requeue => ("queued", why == Loss::Silent),
        AfterLoss::GiveUp | AfterLoss::Quarantine => ("error", false),
    };
    sqlx::query(
        "UPDATE jobs SET state = $1, error = $2, losses = $3,
             lapsed = CASE WHEN $4 = 1 THEN lease ELSE NULL END, lease = NULL, lease_until = NULL
         WHERE id = $5",
    )
    .bind(state)
    .bind(error)
    .bind(i64::from(losses))
    .bind(i64::from(keeps_lapsed))
    .bind(job.id)
    .execute(db)
    .await?;
    deltas.moved(job.experiment_id, job.tier, "leased", state);
    Ok(Lost {
        experiment: experiment_name(job.experiment)?,
        job: JobId {
            krate: job.entry.krate.id(),
            tier: tier(job.tier)?,
        },
        agent: job.agent,
        attempt: job.attempts,
        why,
        then,
    })
}

pub(super) async fn expire(db: &mut Connection, now: Timestamp) -> Result<Expired, StoreError> {
    let mut deltas = Deltas::default();
    let lost = expire_some(db, now, &mut deltas).await?;
    deltas.apply(db, 0).await?;
    let done: Vec<(i64, String)> = sqlx::query_as(
        "SELECT e.id, e.name FROM experiments e
         WHERE e.state IN ('queued', 'running') AND coalesce(
             (SELECT CAST(sum(c.jobs) AS BIGINT) FROM job_counts c
              WHERE c.experiment_id = e.id AND c.state IN ('queued', 'leased')), 0) = 0
         ORDER BY e.id",
    )
    .fetch_all(&mut *db)
    .await?;
    let mut ended = Vec::new();
    for (id, name) in done {
        if counters::end_if_done(db, id, now.as_millisecond()).await? {
            ended.push(experiment_name(name)?);
        }
    }
    Ok(Expired { lost, ended })
}

/// A job that a heartbeat names, with the rest of what losing it needs.
type BeatRow = (
    i64,
    i64,
    i64,
    i64,
    i64,
    Option<String>,
    String,
    String,
    String,
    String,
    Option<i64>,
    Option<i64>,
    String,
);

/// A job by its lease, or by the lease that it had until that ran out.
struct Beaten {
    losing: Losing,
    state: String,
    progress: Option<i64>,
    progressed: i64,
    active: bool,
}

async fn beaten(
    db: &mut Connection,
    beats: &Beats,
) -> Result<BTreeMap<String, Beaten>, StoreError> {
    let mut found = BTreeMap::new();
    for column in ["j.lease", "j.lapsed"] {
        for chunk in beats.leases.chunks(LEASES_AT_ONCE) {
            let mut query = QueryBuilder::<Database>::new(
                "SELECT j.id, j.experiment_id, j.tier, j.attempts, j.losses, j.agent, e.name,
                     p.entry, j.state, e.state, j.progress, j.progressed, ",
            );
            query.push(column);
            query.push(
                " FROM jobs j
                 JOIN experiments e ON e.id = j.experiment_id
                 JOIN plan p ON p.experiment_id = j.experiment_id AND p.position = j.position
                 WHERE j.state IN ('leased', 'queued') AND ",
            );
            query.push(column);
            query.push(" IN (");
            let mut leases = query.separated(", ");
            for beat in chunk {
                leases.push_bind(beat.lease.0.as_str());
            }
            query.push(locking!(") ORDER BY j.id", "j"));
            let rows: Vec<BeatRow> = query.build_query_as().fetch_all(&mut *db).await?;
            for row in rows {
                let (id, experiment, tier, attempts, losses, agent, name, entry, ..) = row;
                let (state, of_experiment, progress, progressed, lease) =
                    (row.8, row.9, row.10, row.11, row.12);
                let losing =
                    Losing::from_row((id, experiment, tier, attempts, losses, agent, name, entry))?;
                let active = matches!(of_experiment.as_str(), "queued" | "running");
                let job = Beaten {
                    losing,
                    state,
                    progress,
                    progressed: progressed.unwrap_or(i64::MAX),
                    active,
                };
                found.insert(lease, job);
            }
        }
    }
    Ok(found)
}

pub(super) async fn heartbeat(db: &mut Connection, beats: &Beats) -> Result<Heartbeat, StoreError> {
    if beats.leases.is_empty() {
        return Ok(Heartbeat::default());
    }
    let mut found = beaten(db, beats).await?;
    let mut answer = Heartbeat::default();
    for beat in &beats.leases {
        let holder = found
            .get(&beat.lease.0)
            .map(|job| job.losing.agent.as_str());
        if holder.is_some_and(|agent| agent != beats.agent) {
            answer.foreign.push(beat.lease.clone());
        }
    }
    if !answer.foreign.is_empty() {
        return Ok(answer);
    }
    let mut deltas = Deltas::default();
    for beat in &beats.leases {
        let Some(job) = found.remove(&beat.lease.0).filter(|job| job.active) else {
            answer.lost.push(beat.lease.clone());
            continue;
        };
        // The bits are what is kept: no number is larger than another here, only other.
        let said = beat.progress.map(u64::cast_signed);
        let got_on = said.is_none() || said != job.progress;
        if job.state == "leased" && !got_on && job.progressed <= beats.stuck_since.as_millisecond()
        {
            let lost = lose(db, job.losing, Loss::Stuck, &mut deltas).await?;
            answer.stuck.push(lost);
            answer.lost.push(beat.lease.clone());
            continue;
        }
        extend(db, &job, &beat.lease, said, got_on, beats, &mut deltas).await?;
        answer.extended.push(beat.lease.clone());
    }
    let now = beats.now.as_millisecond();
    deltas.apply_and_end(db, 0, now).await?;
    Ok(answer)
}

/// Makes a lease hold until the new time, and hold again if it had run out.
async fn extend(
    db: &mut Connection,
    job: &Beaten,
    lease: &LeaseId,
    said: Option<i64>,
    got_on: bool,
    beats: &Beats,
    deltas: &mut Deltas,
) -> Result<(), StoreError> {
    let again = job.state == "queued";
    let progressed = if got_on {
        beats.now.as_millisecond()
    } else {
        job.progressed
    };
    sqlx::query(
        "UPDATE jobs SET state = 'leased', lease = $1, lapsed = NULL, lease_until = $2,
             progress = coalesce($3, progress), progressed = $4, losses = losses - $5
         WHERE id = $6",
    )
    .bind(&lease.0)
    .bind(beats.until.as_millisecond())
    .bind(said)
    .bind(progressed)
    .bind(i64::from(again))
    .bind(job.losing.id)
    .execute(&mut *db)
    .await?;
    if again {
        sqlx::query("DELETE FROM setbacks WHERE job_id = $1 AND agent = $2")
            .bind(job.losing.id)
            .bind(&beats.agent)
            .execute(db)
            .await?;
        deltas.moved(
            job.losing.experiment_id,
            job.losing.tier,
            "queued",
            "leased",
        );
    }
    Ok(())
}

pub(super) async fn works_on(
    db: &mut Connection,
    agent: &str,
    name: &ExperimentName,
) -> Result<bool, StoreError> {
    let id = super::experiment_id(db, name).await?;
    let held: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM jobs WHERE agent = $1 AND state = 'leased' AND experiment_id = $2",
    )
    .bind(agent)
    .bind(id)
    .fetch_one(db)
    .await?;
    Ok(held > 0)
}

pub(super) async fn leased_job(
    db: &mut Connection,
    lease: &LeaseId,
) -> Result<Option<LeasedJob>, StoreError> {
    type Found = (
        String,
        String,
        i64,
        Option<String>,
        i64,
        String,
        i64,
        i64,
        Option<i64>,
    );
    let row: Option<Found> = sqlx::query_as(
        "SELECT e.name, p.entry, j.tier, j.agent, j.attempts, j.state, j.size, e.memory_bytes,
             j.granted
         FROM jobs j
         JOIN experiments e ON e.id = j.experiment_id
         JOIN plan p ON p.experiment_id = j.experiment_id AND p.position = j.position
         WHERE j.lease = $1 OR j.lapsed = $1",
    )
    .bind(&lease.0)
    .fetch_optional(db)
    .await?;
    let Some((name, entry, number, agent, attempt, state, size, memory, granted)) = row else {
        return Ok(None);
    };
    let entry: PlanEntry = decode("an entry of a plan", &entry)?;
    let ordinary = Limits {
        memory_bytes: unsigned(memory),
        ..Limits::default()
    };
    let own = entry.options.limits(&ordinary).memory_bytes;
    Ok(Some(LeasedJob {
        experiment: experiment_name(name)?,
        job: JobId {
            krate: entry.krate.id(),
            tier: tier(number)?,
        },
        agent: agent.unwrap_or_default(),
        attempt: small(attempt),
        granted: codec::time(granted.unwrap_or_default())?,
        size: small(size),
        memory_bytes: queue::memory_in_class(own, small(size)),
        finished: state == "finished",
    }))
}

pub(super) async fn release(
    db: &mut Connection,
    lease: &LeaseId,
    why: Setback<'_>,
    now: Timestamp,
) -> Result<Released, StoreError> {
    type Held = (i64, i64, i64, i64, i64, Option<String>);
    let row: Option<Held> = sqlx::query_as(locking!(
        "SELECT j.id, j.experiment_id, j.tier, j.attempts, j.size, j.agent
         FROM jobs j WHERE j.lease = $1 AND j.state = 'leased'",
        "j"
    ))
    .bind(&lease.0)
    .fetch_optional(&mut *db)
    .await?;
    let Some((id, experiment, tier, attempts, size, agent)) = row else {
        return Ok(Released::Stale);
    };
    let larger = i64::from(small(size) < queue::MAX_SIZE);
    // Whether it waits again, the attempts that do not count, the size classes up, and the error.
    let (again, uncounted, classes, error) = match why {
        Setback::Unstarted => (true, 1, 0, None),
        Setback::Transient(error) => (job::may_retry(small(attempts)), 0, 0, Some(error)),
        Setback::Permanent(error) => (false, 0, 0, Some(error)),
        Setback::TooSmall(error) => (larger == 1, larger, larger, Some(error)),
    };
    if let (Setback::Transient(_), true, Some(agent)) = (why, again, &agent) {
        sqlx::query(
            "INSERT INTO setbacks (job_id, agent, attempt) VALUES ($1, $2, $3)
             ON CONFLICT (job_id, agent) DO UPDATE SET attempt = excluded.attempt",
        )
        .bind(id)
        .bind(agent)
        .bind(attempts)
        .execute(&mut *db)
        .await?;
    }
    let state = if again { "queued" } else { "error" };
    sqlx::query(
        "UPDATE jobs SET state = $1, lease = NULL, lease_until = NULL,
             attempts = attempts - $2, size = size + $3, error = coalesce($4, error)
         WHERE id = $5",
    )
    .bind(state)
    .bind(uncounted)
    .bind(classes)
    .bind(error)
    .bind(id)
    .execute(&mut *db)
    .await?;
    let mut deltas = Deltas::default();
    deltas.moved(experiment, tier, "leased", state);
    deltas.apply(db, id).await?;
    let counts = counters::counts(db, experiment).await?;
    if again {
        return Ok(Released::Requeued(counts));
    }
    if counts.unfinished() == 0 {
        counters::end_if_done(db, experiment, now.as_millisecond()).await?;
    }
    Ok(Released::GivenUp(counts))
}
