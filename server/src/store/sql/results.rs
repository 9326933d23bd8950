//! Results: taking them in once, reading them back.

use ejecta_core::compare::{self, Verdict};
use ejecta_core::job::{self, Holder, JobId, LeaseId, Submission};
use ejecta_core::plan::PlanEntry;
use ejecta_core::retry::TierVerdict;
use jiff::Timestamp;

use super::counters::{self, Deltas};
use super::{Connection, settle};
use crate::store::codec::{self, decode, signed, small, tier, unpack};
use crate::store::{
    EntryResult, EntryVerdicts, Failure, JobState, News, StoreError, Submitted, TierResult,
};

/// Records judged by one transaction when they are brought over from an older schema.
const JUDGED_AT_ONCE: i64 = 500;

/// Takes in `record` (packed) with what it comes to.
pub(super) async fn submit(
    db: &mut Connection,
    lease: &LeaseId,
    record: &[u8],
    verdict: Verdict,
    now: Timestamp,
) -> Result<Submitted, StoreError> {
    type Found = (i64, i64, i64, String);
    let mut row: Option<Found> = None;
    for query in [
        locking!(
            "SELECT j.id, j.experiment_id, j.tier, j.state FROM jobs j WHERE j.lease = $1",
            "j"
        ),
        locking!(
            "SELECT j.id, j.experiment_id, j.tier, j.state FROM jobs j WHERE j.lapsed = $1",
            "j"
        ),
    ] {
        if row.is_none() {
            row = sqlx::query_as(query)
                .bind(&lease.0)
                .fetch_optional(&mut *db)
                .await?;
        }
    }
    // A lease that has lost its job stands on no row: what it holds is nothing.
    let Some((id, experiment, tier, state)) = row else {
        return Ok(Submitted::Stale);
    };
    let (holder, from) = match state.as_str() {
        "leased" => (Holder::Lease(lease.clone()), "leased"),
        // It ran out, and nobody has the job.
        "queued" => (Holder::Lease(lease.clone()), "queued"),
        "finished" => (Holder::FinishedBy(lease.clone()), "finished"),
        _ => (Holder::Nobody, "error"),
    };
    match job::judge_submission(&holder, lease) {
        Submission::Stale => return Ok(Submitted::Stale),
        Submission::Repeat => return Ok(Submitted::Repeated),
        Submission::Commit => {}
    }
    sqlx::query(
        "UPDATE jobs SET state = 'finished', lease = $1, lapsed = NULL, lease_until = NULL
         WHERE id = $2",
    )
    .bind(&lease.0)
    .bind(id)
    .execute(&mut *db)
    .await?;
    super::announce(db, experiment).await?;
    sqlx::query(
        "INSERT INTO records (job_id, experiment_id, verdict, record, finished)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(experiment)
    .bind(verdict.name())
    .bind(record)
    .bind(now.as_millisecond())
    .execute(&mut *db)
    .await?;
    let mut deltas = Deltas::default();
    deltas.finished(experiment, tier, from, verdict);
    deltas.apply(db, id).await?;
    let counts = counters::counts(db, experiment).await?;
    if counts.unfinished() == 0 {
        counters::end_if_done(db, experiment, now.as_millisecond()).await?;
    }
    Ok(Submitted::Committed(counts))
}

/// A row of the results: position and entry, then tier, state, attempts, error and lease of the
/// job if there is one, then its record if it has one.
type Row = (
    i64,
    String,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<Vec<u8>>,
);

/// The positions of a page.
fn bounds(from: u64, limit: u32) -> (i64, i64) {
    let from = signed(from);
    (from, from.saturating_add(i64::from(limit)))
}

/// Reads `limit` entries of the plan from position `from` on, with their jobs.
pub(super) async fn page(
    db: &mut Connection,
    experiment: i64,
    from: u64,
    limit: u32,
) -> Result<Vec<EntryResult>, StoreError> {
    let (from, to) = bounds(from, limit);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT p.position, p.entry, j.tier, j.state, j.attempts, j.error, j.lease, r.record
         FROM plan p
         LEFT JOIN jobs j ON j.experiment_id = p.experiment_id AND j.position = p.position
             AND j.tier IN (0, 1)
         LEFT JOIN records r ON r.job_id = j.id
         WHERE p.experiment_id = $1 AND p.position >= $2 AND p.position < $3
         ORDER BY p.position, j.tier",
    )
    .bind(experiment)
    .bind(from)
    .bind(to)
    .fetch_all(db)
    .await?;
    let mut entries: Vec<EntryResult> = Vec::new();
    let mut at = None;
    for (position, entry, number, state, attempts, error, lease, record) in rows {
        if at != Some(position) {
            at = Some(position);
            entries.push(EntryResult {
                entry: decode::<PlanEntry>("an entry of a plan", &entry)?,
                tiers: Vec::new(),
            });
        }
        if let (Some(number), Some(state)) = (number, state) {
            let last = entries.last_mut().expect("pushed if it was missing");
            let finished = state == "finished";
            last.tiers.push(TierResult {
                tier: tier(number)?,
                attempts: small(attempts.unwrap_or_default()),
                state: job_state(state, error, record.as_deref())?,
                lease: lease.filter(|_| finished).map(LeaseId),
            });
        }
    }
    Ok(entries)
}

fn job_state(
    state: String,
    error: Option<String>,
    record: Option<&[u8]>,
) -> Result<JobState, StoreError> {
    match (state.as_str(), record) {
        ("queued", None) => Ok(JobState::Queued),
        ("leased", None) => Ok(JobState::Leased),
        ("finished", Some(record)) => Ok(JobState::Finished {
            record: Box::new(unpack(record)?),
        }),
        ("error", None) => Ok(JobState::Error {
            message: error.unwrap_or_default(),
        }),
        _ => Err(StoreError::corrupt("a job's state", state)),
    }
}

/// As [`page`], without the records.
pub(super) async fn verdicts(
    db: &mut Connection,
    experiment: i64,
    from: u64,
    limit: u32,
) -> Result<Vec<EntryVerdicts>, StoreError> {
    type Row = (i64, String, Option<i64>, Option<String>, Option<String>);
    let (from, to) = bounds(from, limit);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT p.position, p.entry, j.tier, j.state, r.verdict
         FROM plan p
         LEFT JOIN jobs j ON j.experiment_id = p.experiment_id AND j.position = p.position
             AND j.tier IN (0, 1)
         LEFT JOIN records r ON r.job_id = j.id
         WHERE p.experiment_id = $1 AND p.position >= $2 AND p.position < $3
         ORDER BY p.position, j.tier",
    )
    .bind(experiment)
    .bind(from)
    .bind(to)
    .fetch_all(db)
    .await?;
    let mut entries: Vec<EntryVerdicts> = Vec::new();
    let mut at = None;
    for (position, entry, number, state, verdict) in rows {
        if at != Some(position) {
            at = Some(position);
            entries.push(EntryVerdicts {
                entry: decode::<PlanEntry>("an entry of a plan", &entry)?,
                tiers: Vec::new(),
            });
        }
        if let (Some(number), Some(state)) = (number, state) {
            let verdict = match (state.as_str(), verdict) {
                ("error", _) => Some(Verdict::Error),
                (_, Some(verdict)) => Some(codec::verdict(&verdict)?),
                (_, None) => None,
            };
            let last = entries.last_mut().expect("pushed if it was missing");
            let tier = tier(number)?;
            last.tiers.push(TierVerdict { tier, verdict });
        }
    }
    Ok(entries)
}

/// Results that are newer than the one with the number `after`. Numbers are given before their
/// transactions end, so those under way are waited for first.
pub(super) async fn news(
    db: &mut Connection,
    experiment: i64,
    after: i64,
    limit: u32,
) -> Result<Vec<News>, StoreError> {
    type Row = (i64, String, i64, String, Option<String>, Option<String>);
    let newest = settle(db, experiment).await?;
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT r.number, p.entry, j.tier, r.verdict, j.agent, j.lease
         FROM records r
         JOIN jobs j ON j.id = r.job_id
         JOIN plan p ON p.experiment_id = j.experiment_id AND p.position = j.position
         WHERE r.experiment_id = $1 AND r.number > $2 AND r.number <= $3
         ORDER BY r.number LIMIT $4",
    )
    .bind(experiment)
    .bind(after)
    .bind(newest)
    .bind(i64::from(limit))
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|(number, entry, of, verdict, agent, lease)| {
            let entry: PlanEntry = decode("an entry of a plan", &entry)?;
            Ok(News {
                number,
                job: JobId {
                    krate: entry.krate.id(),
                    tier: tier(of)?,
                },
                verdict: codec::verdict(&verdict)?,
                agent: agent.unwrap_or_default(),
                lease: LeaseId(lease.unwrap_or_default()),
            })
        })
        .collect()
}

/// The number of the newest result; 0 before the first. None of a lower number is still to come.
pub(super) async fn newest(db: &mut Connection, experiment: i64) -> Result<i64, StoreError> {
    settle(db, experiment).await
}

/// The jobs that were given up, in the plan's order.
pub(super) const FAILURES: &str = "SELECT p.entry, j.tier, j.attempts, j.agent, j.error
     FROM jobs j
     JOIN plan p ON p.experiment_id = j.experiment_id AND p.position = j.position
     WHERE j.experiment_id = $1 AND j.state = 'error'
     ORDER BY j.tier, j.position LIMIT $2";

/// Reads the first `limit` of [`FAILURES`].
pub(super) async fn failures(
    db: &mut Connection,
    experiment: i64,
    limit: u32,
) -> Result<Vec<Failure>, StoreError> {
    type Row = (String, i64, i64, Option<String>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(FAILURES)
        .bind(experiment)
        .bind(i64::from(limit))
        .fetch_all(db)
        .await?;
    rows.into_iter()
        .map(|(entry, of, attempts, agent, error)| {
            let entry: PlanEntry = decode("an entry of a plan", &entry)?;
            Ok(Failure {
                job: JobId {
                    krate: entry.krate.id(),
                    tier: tier(of)?,
                },
                attempts: small(attempts),
                agent: agent.unwrap_or_default(),
                message: error.unwrap_or_default(),
            })
        })
        .collect()
}

/// Judges some records that an older schema kept without a verdict, and packs them; says whether
/// there were any.
pub(super) async fn judge_old(db: &mut Connection) -> Result<bool, StoreError> {
    type Row = (i64, i64, i64, Vec<u8>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT r.number, r.experiment_id, j.tier, r.record
         FROM records r JOIN jobs j ON j.id = r.job_id
         WHERE r.verdict = '' ORDER BY r.number LIMIT $1",
    )
    .bind(JUDGED_AT_ONCE)
    .fetch_all(&mut *db)
    .await?;
    let any = !rows.is_empty();
    let mut deltas = Deltas::default();
    for (number, experiment, tier, bytes) in rows {
        let record = unpack(&bytes)?;
        let verdict = compare::judge_job(&record).verdict;
        sqlx::query("UPDATE records SET verdict = $1, record = $2 WHERE number = $3")
            .bind(verdict.name())
            .bind(codec::pack(&record)?)
            .bind(number)
            .execute(&mut *db)
            .await?;
        deltas.finished(experiment, tier, "finished", verdict);
    }
    deltas.apply(db, 0).await?;
    Ok(any)
}
