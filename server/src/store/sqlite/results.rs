//! Results: taking them in once, counting them, reading them back.

use ejecta_core::job::{self, Holder, LeaseId, Submission};
use ejecta_core::plan::PlanEntry;
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::{decode, tier};
use crate::store::{Counts, EntryResult, JobState, StoreError, Submitted, TierCounts, TierResult};

/// Takes in `record` (the JSON of a job's record).
pub(super) async fn submit(
    db: &mut SqliteConnection,
    lease: &LeaseId,
    record: &str,
    now: Timestamp,
) -> Result<Submitted, StoreError> {
    let row: Option<(i64, i64, String)> =
        sqlx::query_as("SELECT id, experiment_id, state FROM jobs WHERE lease = ?")
            .bind(&lease.0)
            .fetch_optional(&mut *db)
            .await?;
    // A lease that has lost its job stands on no row: what it holds is nothing.
    let Some((id, experiment, state)) = row else {
        return Ok(Submitted::Stale);
    };
    let holder = match state.as_str() {
        "leased" => Holder::Lease(lease.clone()),
        "finished" => Holder::FinishedBy(lease.clone()),
        _ => Holder::Nobody,
    };
    match job::judge_submission(&holder, lease) {
        Submission::Stale => Ok(Submitted::Stale),
        Submission::Repeat => Ok(Submitted::Repeated),
        Submission::Commit => {
            sqlx::query("UPDATE jobs SET state = 'finished', lease_until = NULL WHERE id = ?")
                .bind(id)
                .execute(&mut *db)
                .await?;
            sqlx::query("INSERT INTO results (job_id, record, finished) VALUES (?, ?, ?)")
                .bind(id)
                .bind(record)
                .bind(now.as_millisecond())
                .execute(&mut *db)
                .await?;
            Ok(Submitted::Committed(counts(db, experiment).await?))
        }
    }
}

/// Counts the jobs of an experiment by tier and state.
pub(super) async fn counts(
    db: &mut SqliteConnection,
    experiment: i64,
) -> Result<Counts, StoreError> {
    let rows: Vec<(i64, String, i64)> = sqlx::query_as(
        "SELECT tier, state, jobs FROM job_counts WHERE experiment_id = ? ORDER BY tier",
    )
    .bind(experiment)
    .fetch_all(db)
    .await?;
    let mut counts = Counts::default();
    for (number, state, jobs) in rows {
        let tier = tier(number)?;
        if counts.tiers.last().is_none_or(|last| last.tier != tier) {
            counts.tiers.push(TierCounts {
                tier,
                queued: 0,
                leased: 0,
                finished: 0,
                errors: 0,
            });
        }
        let last = counts.tiers.last_mut().expect("pushed if it was missing");
        let count = match state.as_str() {
            "queued" => &mut last.queued,
            "leased" => &mut last.leased,
            "finished" => &mut last.finished,
            "error" => &mut last.errors,
            _ => return Err(StoreError::corrupt("a job's state", state)),
        };
        *count = jobs.unsigned_abs();
    }
    Ok(counts)
}

/// A row of the results: position and entry, then tier, state, attempts and error of the job if
/// there is one, then its record if it has one.
type Row = (
    i64,
    String,
    Option<i64>,
    Option<String>,
    Option<u32>,
    Option<String>,
    Option<String>,
);

/// Reads `limit` entries of the plan from position `from` on, with their jobs.
pub(super) async fn page(
    db: &mut SqliteConnection,
    experiment: i64,
    from: u64,
    limit: u32,
) -> Result<Vec<EntryResult>, StoreError> {
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT p.position, p.entry, j.tier, j.state, j.attempts, j.error, r.record
         FROM plan p
         LEFT JOIN jobs j ON j.experiment_id = p.experiment_id AND j.position = p.position
             AND j.tier IN (0, 1)
         LEFT JOIN results r ON r.job_id = j.id
         WHERE p.experiment_id = ? AND p.position >= ? AND p.position < ?
         ORDER BY p.position, j.tier",
    )
    .bind(experiment)
    .bind(from)
    .bind(from.saturating_add(i64::from(limit)))
    .fetch_all(db)
    .await?;
    let mut entries: Vec<EntryResult> = Vec::new();
    let mut at = None;
    for (position, entry, number, state, attempts, error, record) in rows {
        if at != Some(position) {
            at = Some(position);
            entries.push(EntryResult {
                entry: decode::<PlanEntry>("an entry of a plan", &entry)?,
                tiers: Vec::new(),
            });
        }
        if let (Some(number), Some(state)) = (number, state) {
            let last = entries.last_mut().expect("pushed if it was missing");
            last.tiers.push(TierResult {
                tier: tier(number)?,
                attempts: attempts.unwrap_or_default(),
                state: job_state(state, error, record.as_deref())?,
            });
        }
    }
    Ok(entries)
}

fn job_state(
    state: String,
    error: Option<String>,
    record: Option<&str>,
) -> Result<JobState, StoreError> {
    match (state.as_str(), record) {
        ("queued", None) => Ok(JobState::Queued),
        ("leased", None) => Ok(JobState::Leased),
        ("finished", Some(record)) => Ok(JobState::Finished {
            record: decode("a job's record", record)?,
        }),
        ("error", None) => Ok(JobState::Error {
            message: error.unwrap_or_default(),
        }),
        _ => Err(StoreError::corrupt("a job's state", state)),
    }
}
