//! Granting jobs.

use ejecta_core::capability::{Capabilities, Requirements};
use ejecta_core::job::LeaseId;
use ejecta_core::limits::Limits;
use ejecta_core::plan::PlanEntry;
use ejecta_core::queue::{self, Standing};
use jiff::Timestamp;
use sqlx::QueryBuilder;

use super::counters::Deltas;
use super::{Connection, Database, leases};
use crate::store::codec::{self, decode, experiment_name, signed, small, tier, unsigned};
use crate::store::{Claim, Claimed, Granted, StoreError};

/// Jobs of an experiment that wait, in the order in which they are granted. The values are the
/// experiment, the largest size class, the agent, how many, and 1 if it does not matter which of
/// them the agent has failed; otherwise those are left out.
pub(super) const WAITING: &str = skipping!(
    "SELECT j.id, j.tier, j.attempts, j.size, p.entry
     FROM jobs j
     JOIN plan p ON p.experiment_id = j.experiment_id AND p.position = j.position
     WHERE j.experiment_id = $1 AND j.state = 'queued' AND j.size <= $2
         AND ($5 = 1 OR NOT EXISTS (
             SELECT 1 FROM setbacks s WHERE s.job_id = j.id AND s.agent = $3))
     ORDER BY j.tier, j.attempts, j.position
     LIMIT $4",
    "j"
);

/// As [`WAITING`], those that the agent has failed; the last value says nothing.
const FAILED: &str = skipping!(
    "SELECT j.id, j.tier, j.attempts, j.size, p.entry
     FROM jobs j
     JOIN setbacks s ON s.job_id = j.id AND s.agent = $3
     JOIN plan p ON p.experiment_id = j.experiment_id AND p.position = j.position
     WHERE j.experiment_id = $1 AND j.state = 'queued' AND j.size <= $2 AND $5 = $5
     ORDER BY j.tier, j.attempts, j.position
     LIMIT $4",
    "j"
);

type Row = (i64, i64, i64, i64, String);

/// An experiment under way whose requirements the agent meets.
struct Candidate {
    id: i64,
    name: String,
    queued_state: bool,
    memory_bytes: u64,
    created: Timestamp,
    requirements: Requirements,
    /// Other agents that are alive and fit, where the agent has failed jobs that wait: some of
    /// these jobs may be for them.
    others: Vec<(String, Capabilities)>,
    standing: Standing,
}

/// A job that is to be granted.
struct Picked {
    id: i64,
    experiment: usize,
    tier: i64,
    attempts: i64,
    size: u32,
    entry: PlanEntry,
}

pub(super) async fn claim(db: &mut Connection, claim: &Claim) -> Result<Claimed, StoreError> {
    let mut deltas = Deltas::default();
    let lost = leases::expire_some(db, claim.expired, &mut deltas).await?;
    // What has just expired waits now, and is counted where the others are.
    let now = claim.now.as_millisecond();
    deltas.apply_and_end(db, 0, now).await?;
    let mut deltas = Deltas::default();

    let (mut candidates, unfinished) = candidates(db, claim).await?;
    if has_failed(db, &claim.agent).await? {
        find_others(db, claim, &mut candidates).await?;
    }
    let mut picked: Vec<Picked> = Vec::new();
    let wanted = claim.leases.len();
    for with_failed in [false, true] {
        while picked.len() < wanted {
            let standings: Vec<Standing> = candidates.iter().map(|c| c.standing).collect();
            let shares = queue::share((wanted - picked.len()) as u64, &standings);
            if shares.iter().all(|share| *share == 0) {
                break;
            }
            for (at, share) in shares.into_iter().enumerate().filter(|(_, n)| *n > 0) {
                let candidate = &mut candidates[at];
                start(db, candidate, claim).await?;
                let found = if with_failed {
                    pick_failed(db, candidate, at, share, claim).await?
                } else {
                    pick(db, candidate, at, share, claim).await?
                };
                let standing = &mut candidate.standing;
                let count = found.len() as u64;
                standing.in_flight += count;
                // Where there were fewer than its share, nothing is left for this agent.
                standing.waiting = if count < share {
                    0
                } else {
                    standing.waiting.saturating_sub(count)
                };
                grant(db, &found, &claim.leases[picked.len()..], claim).await?;
                for job in &found {
                    deltas.moved(candidate.id, job.tier, "queued", "leased");
                }
                picked.extend(found);
            }
        }
        // What the agent has failed comes last where others are there for it.
        for candidate in &mut candidates {
            let left = !candidate.others.is_empty();
            candidate.standing.waiting = if left { u64::MAX } else { 0 };
        }
    }
    let shard = picked.first().map_or(0, |job| job.id);
    deltas.apply(db, shard).await?;
    let granted = picked
        .into_iter()
        .zip(&claim.leases)
        .map(|(job, lease)| granted(job, lease, &candidates))
        .collect::<Result<_, _>>()?;
    Ok(Claimed {
        granted,
        lost,
        unfinished,
    })
}

/// The experiments under way that the agent can work for, the first ones first, and how many jobs are
/// unfinished in all of them, those of others too.
async fn candidates(
    db: &mut Connection,
    claim: &Claim,
) -> Result<(Vec<Candidate>, u64), StoreError> {
    type Experiment = (i64, String, String, i64, String, i64, i64);
    let experiments: Vec<Experiment> = sqlx::query_as(
        "SELECT id, name, state, priority, requirements, memory_bytes, created
         FROM experiments WHERE state IN ('queued', 'running') ORDER BY id",
    )
    .fetch_all(&mut *db)
    .await?;
    let counts: Vec<(i64, String, i64)> = sqlx::query_as(
        "SELECT c.experiment_id, c.state, CAST(sum(c.jobs) AS BIGINT)
         FROM experiments e JOIN job_counts c ON c.experiment_id = e.id
         WHERE e.state IN ('queued', 'running') AND c.state IN ('queued', 'leased')
         GROUP BY c.experiment_id, c.state",
    )
    .fetch_all(&mut *db)
    .await?;
    let count = |id: i64, of: &str| {
        let found = counts.iter().find(|(e, state, _)| *e == id && state == of);
        found.map_or(0, |(_, _, jobs)| unsigned(*jobs))
    };
    let unfinished = counts.iter().map(|(_, _, jobs)| unsigned(*jobs)).sum();
    let mut candidates = Vec::new();
    for (id, name, state, priority, requirements, memory_bytes, created) in experiments {
        let requirements: Requirements = decode("requirements", &requirements)?;
        let is_left_out = claim.without.iter().any(|w| w.as_str() == name);
        if !is_left_out && claim.capabilities.fit(&requirements) {
            candidates.push(Candidate {
                id,
                name,
                queued_state: state == "queued",
                memory_bytes: unsigned(memory_bytes),
                created: codec::time(created)?,
                requirements,
                others: Vec::new(),
                standing: Standing {
                    priority: i32::try_from(priority)
                        .map_err(|error| StoreError::corrupt("a priority", error))?,
                    order: id,
                    in_flight: count(id, "leased"),
                    waiting: count(id, "queued"),
                },
            });
        }
    }
    // What comes first should run first.
    candidates.sort_by_key(|c| (std::cmp::Reverse(c.standing.priority), c.id));
    Ok((candidates, unfinished))
}

/// Moves an experiment on whose first job is granted. From now on nobody edits its jobs.
async fn start(
    db: &mut Connection,
    candidate: &mut Candidate,
    claim: &Claim,
) -> Result<(), StoreError> {
    if candidate.queued_state {
        sqlx::query(
            "UPDATE experiments SET state = 'running', since = $1,
                 started = coalesce(started, $1)
             WHERE id = $2 AND state = 'queued'",
        )
        .bind(claim.now.as_millisecond())
        .bind(candidate.id)
        .execute(db)
        .await?;
        candidate.queued_state = false;
    }
    Ok(())
}

async fn rows(
    db: &mut Connection,
    query: &'static str,
    candidate: &Candidate,
    share: u64,
    claim: &Claim,
) -> Result<Vec<Row>, StoreError> {
    let memory = claim.capabilities.memory_mib();
    let largest = queue::largest_class(candidate.memory_bytes, memory);
    Ok(sqlx::query_as(query)
        .bind(candidate.id)
        .bind(i64::from(largest))
        .bind(&claim.agent)
        .bind(signed(share))
        .bind(i64::from(candidate.others.is_empty()))
        .fetch_all(db)
        .await?)
}

fn picked(experiment: usize, row: Row) -> Result<Picked, StoreError> {
    let (id, tier, attempts, size, entry) = row;
    Ok(Picked {
        id,
        experiment,
        tier,
        attempts,
        size: small(size),
        entry: decode("an entry of a plan", &entry)?,
    })
}

/// At most `share` jobs of an experiment that are for this agent in any case.
async fn pick(
    db: &mut Connection,
    candidate: &Candidate,
    at: usize,
    share: u64,
    claim: &Claim,
) -> Result<Vec<Picked>, StoreError> {
    let rows = rows(db, WAITING, candidate, share, claim).await?;
    rows.into_iter().map(|row| picked(at, row)).collect()
}

/// Whether there is any job that waits and that the agent has failed.
async fn has_failed(db: &mut Connection, agent: &str) -> Result<bool, StoreError> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT j.id FROM setbacks s JOIN jobs j ON j.id = s.job_id
         WHERE s.agent = $1 AND j.state = 'queued' LIMIT 1",
    )
    .bind(agent)
    .fetch_optional(db)
    .await?;
    Ok(found.is_some())
}

/// Finds the other agents that are alive, for each experiment those that fit.
async fn find_others(
    db: &mut Connection,
    claim: &Claim,
    candidates: &mut [Candidate],
) -> Result<(), StoreError> {
    let alive: Vec<(String, String)> =
        sqlx::query_as("SELECT name, capabilities FROM agents WHERE seen >= $1 AND name <> $2")
            .bind(claim.alive_since.as_millisecond())
            .bind(&claim.agent)
            .fetch_all(db)
            .await?;
    for (name, capabilities) in alive {
        let capabilities: Capabilities = decode("an agent's capabilities", &capabilities)?;
        for candidate in &mut *candidates {
            if capabilities.fit(&candidate.requirements) {
                let other = (name.clone(), capabilities.clone());
                candidate.others.push(other);
            }
        }
    }
    Ok(())
}

/// At most `share` jobs of an experiment that the agent has failed and nobody else is there for.
async fn pick_failed(
    db: &mut Connection,
    candidate: &Candidate,
    at: usize,
    share: u64,
    claim: &Claim,
) -> Result<Vec<Picked>, StoreError> {
    let rows = rows(db, FAILED, candidate, share, claim).await?;
    let mut found = Vec::new();
    for row in rows {
        let job = picked(at, row)?;
        let failed: Vec<String> =
            sqlx::query_scalar("SELECT agent FROM setbacks WHERE job_id = $1")
                .bind(job.id)
                .fetch_all(&mut *db)
                .await?;
        let large_enough = |c: &Capabilities| {
            queue::largest_class(candidate.memory_bytes, c.memory_mib()) >= job.size
        };
        let able: Vec<String> = candidate
            .others
            .iter()
            .filter(|(_, capabilities)| large_enough(capabilities))
            .map(|(name, _)| name.clone())
            .collect();
        if !queue::is_for_others(&claim.agent, &failed, &able) {
            found.push(job);
        }
    }
    Ok(found)
}

/// Leases jobs, each under the lease at its place.
async fn grant(
    db: &mut Connection,
    jobs: &[Picked],
    leases: &[LeaseId],
    claim: &Claim,
) -> Result<(), StoreError> {
    if jobs.is_empty() {
        return Ok(());
    }
    let mut update = QueryBuilder::<Database>::new(
        "UPDATE jobs SET state = 'leased', attempts = attempts + 1, lapsed = NULL,
             progress = NULL, lease = v.column2, agent = ",
    );
    update.push_bind(&claim.agent);
    update
        .push(", lease_until = ")
        .push_bind(claim.until.as_millisecond());
    update
        .push(", granted = ")
        .push_bind(claim.now.as_millisecond());
    update
        .push(", progressed = ")
        .push_bind(claim.now.as_millisecond());
    update.push(" FROM (");
    update.push_values(jobs.iter().zip(leases), |mut row, (job, lease)| {
        row.push_bind(job.id).push_bind(lease.0.as_str());
    });
    update.push(") AS v WHERE jobs.id = v.column1");
    update.build().execute(db).await?;
    Ok(())
}

fn granted(job: Picked, lease: &LeaseId, candidates: &[Candidate]) -> Result<Granted, StoreError> {
    let candidate = &candidates[job.experiment];
    let mut options = job.entry.options;
    if job.size > 0 {
        let ordinary = Limits {
            memory_bytes: candidate.memory_bytes,
            ..Limits::default()
        };
        let memory = options.limits(&ordinary).memory_bytes;
        options.limits.memory_bytes = Some(queue::memory_in_class(memory, job.size));
    }
    Ok(Granted {
        lease: lease.clone(),
        attempt: small(job.attempts).saturating_add(1),
        experiment: experiment_name(candidate.name.clone())?,
        krate: job.entry.krate,
        tier: tier(job.tier)?,
        options,
        size: job.size,
        created: candidate.created,
    })
}
