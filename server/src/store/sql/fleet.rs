//! Tokens, agents, and figures of the whole store.

use std::collections::BTreeMap;

use ejecta_core::job::JobId;
use ejecta_core::plan::PlanEntry;
use jiff::Timestamp;

use super::Connection;
use crate::auth::TokenHash;
use crate::store::codec::{
    self, decode, encode, experiment_name, maybe_time, small, tier, time, unsigned,
};
use crate::store::{AgentJob, AgentRecord, Metrics, Sighting, StoreError, TokenRecord};

type TokenRow = (
    String,
    Vec<u8>,
    String,
    String,
    Option<String>,
    i64,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

fn token_record(row: TokenRow) -> Result<TokenRecord, StoreError> {
    let (id, hash, label, scopes, agent, created, expires, revoked, used) = row;
    Ok(TokenRecord {
        id,
        hash: TokenHash::from_bytes(&hash)
            .ok_or_else(|| StoreError::corrupt("a token", "its hash has not 32 bytes"))?,
        label,
        scopes: scopes
            .parse()
            .map_err(|error| StoreError::corrupt("a token's scopes", error))?,
        agent,
        created: time(created)?,
        expires: maybe_time(expires)?,
        revoked: maybe_time(revoked)?,
        used: maybe_time(used)?,
    })
}

pub(super) async fn add_token(
    db: &mut Connection,
    token: &TokenRecord,
) -> Result<bool, StoreError> {
    let millis = |time: Option<Timestamp>| time.map(Timestamp::as_millisecond);
    let added = sqlx::query(
        "INSERT INTO tokens (id, hash, label, scopes, agent, created, expires, revoked, used)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&token.id)
    .bind(token.hash.as_bytes().as_slice())
    .bind(&token.label)
    .bind(token.scopes.to_string())
    .bind(token.agent.as_deref())
    .bind(token.created.as_millisecond())
    .bind(millis(token.expires))
    .bind(millis(token.revoked))
    .bind(millis(token.used))
    .execute(db)
    .await?;
    Ok(added.rows_affected() == 1)
}

pub(super) async fn token(
    db: &mut Connection,
    id: &str,
) -> Result<Option<TokenRecord>, StoreError> {
    let row: Option<TokenRow> = sqlx::query_as(
        "SELECT id, hash, label, scopes, agent, created, expires, revoked, used
         FROM tokens WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(db)
    .await?;
    row.map(token_record).transpose()
}

pub(super) async fn tokens(db: &mut Connection) -> Result<Vec<TokenRecord>, StoreError> {
    let rows: Vec<TokenRow> = sqlx::query_as(
        "SELECT id, hash, label, scopes, agent, created, expires, revoked, used
         FROM tokens ORDER BY created, id",
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(token_record).collect()
}

pub(super) async fn revoke_token(
    db: &mut Connection,
    id: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let revoked = sqlx::query("UPDATE tokens SET revoked = $1 WHERE id = $2 AND revoked IS NULL")
        .bind(now.as_millisecond())
        .bind(id)
        .execute(db)
        .await?;
    Ok(revoked.rows_affected() == 1)
}

pub(super) async fn touch_token(
    db: &mut Connection,
    id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE tokens SET used = $1 WHERE id = $2")
        .bind(now.as_millisecond())
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn see_agent(db: &mut Connection, sighting: &Sighting) -> Result<(), StoreError> {
    let now = sighting.now.as_millisecond();
    match &sighting.capabilities {
        Some(capabilities) => {
            sqlx::query(
                "INSERT INTO agents (name, capabilities, first_seen, seen)
                 VALUES ($1, $2, $3, $3)
                 ON CONFLICT (name) DO UPDATE SET capabilities = excluded.capabilities,
                     seen = excluded.seen",
            )
            .bind(&sighting.agent)
            .bind(encode(capabilities)?)
            .bind(now)
            .execute(db)
            .await?;
        }
        None => {
            sqlx::query("UPDATE agents SET seen = $1 WHERE name = $2")
                .bind(now)
                .bind(&sighting.agent)
                .execute(db)
                .await?;
        }
    }
    Ok(())
}

pub(super) async fn agents(db: &mut Connection) -> Result<Vec<AgentRecord>, StoreError> {
    type JobRow = (
        Option<String>,
        String,
        String,
        i64,
        i64,
        Option<i64>,
        Option<i64>,
        Option<i64>,
    );
    let rows: Vec<JobRow> = sqlx::query_as(
        "SELECT j.agent, e.name, p.entry, j.tier, j.attempts, j.granted, j.progressed,
             j.lease_until
         FROM jobs j
         JOIN experiments e ON e.id = j.experiment_id
         JOIN plan p ON p.experiment_id = j.experiment_id AND p.position = j.position
         WHERE j.state = 'leased'
         ORDER BY j.granted, j.id",
    )
    .fetch_all(&mut *db)
    .await?;
    let mut jobs: BTreeMap<String, Vec<AgentJob>> = BTreeMap::new();
    for (agent, experiment, entry, number, attempt, granted, progressed, until) in rows {
        let entry: PlanEntry = decode("an entry of a plan", &entry)?;
        jobs.entry(agent.unwrap_or_default())
            .or_default()
            .push(AgentJob {
                experiment: experiment_name(experiment)?,
                job: JobId {
                    krate: entry.krate.id(),
                    tier: tier(number)?,
                },
                attempt: small(attempt),
                granted: time(granted.unwrap_or_default())?,
                progressed: time(progressed.unwrap_or_default())?,
                until: time(until.unwrap_or_default())?,
            });
    }
    let rows: Vec<(String, String, i64, i64)> =
        sqlx::query_as("SELECT name, capabilities, first_seen, seen FROM agents ORDER BY name")
            .fetch_all(db)
            .await?;
    rows.into_iter()
        .map(|(name, capabilities, first_seen, seen)| {
            Ok(AgentRecord {
                capabilities: decode("an agent's capabilities", &capabilities)?,
                first_seen: time(first_seen)?,
                seen: time(seen)?,
                jobs: jobs.remove(&name).unwrap_or_default(),
                name,
            })
        })
        .collect()
}

pub(super) async fn metrics(db: &mut Connection) -> Result<Metrics, StoreError> {
    let mut metrics = Metrics::default();
    let states: Vec<(String, i64)> =
        sqlx::query_as("SELECT state, count(*) FROM experiments GROUP BY state")
            .fetch_all(&mut *db)
            .await?;
    for (state, count) in states {
        let state = state
            .parse()
            .map_err(|error| StoreError::corrupt("an experiment's state", error))?;
        metrics.experiments.insert(state, unsigned(count));
    }
    let jobs: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "SELECT c.state, c.verdict,
             CAST(CASE WHEN e.state IN ('queued', 'running') THEN 1 ELSE 0 END AS BIGINT),
             CAST(sum(c.jobs) AS BIGINT)
         FROM job_counts c JOIN experiments e ON e.id = c.experiment_id
         GROUP BY 1, 2, 3",
    )
    .fetch_all(&mut *db)
    .await?;
    for (state, verdict, active, jobs) in jobs {
        let jobs = unsigned(jobs);
        match (state.as_str(), active) {
            ("queued", 1) => metrics.queued += jobs,
            ("leased", 1) => metrics.leased += jobs,
            ("finished", _) => {
                metrics.finished += jobs;
                if jobs > 0 {
                    let verdict = codec::verdict(&verdict)?;
                    *metrics.verdicts.entry(verdict).or_default() += jobs;
                }
            }
            ("error", _) => metrics.errors += jobs,
            _ => {}
        }
    }
    let oldest: Option<i64> = sqlx::query_scalar(
        "SELECT min(e.created) FROM experiments e
         WHERE e.state IN ('queued', 'running') AND
             (SELECT CAST(sum(c.jobs) AS BIGINT) FROM job_counts c
              WHERE c.experiment_id = e.id AND c.state = 'queued') > 0",
    )
    .fetch_one(&mut *db)
    .await?;
    metrics.oldest_queued = maybe_time(oldest)?;
    let agents: i64 = sqlx::query_scalar("SELECT count(*) FROM agents")
        .fetch_one(&mut *db)
        .await?;
    let messages: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox WHERE ended IS NULL")
        .fetch_one(db)
        .await?;
    metrics.agents = unsigned(agents);
    metrics.messages = unsigned(messages);
    Ok(metrics)
}
