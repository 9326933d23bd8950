-- A fleet: states and requirements of experiments, size classes and losses of jobs, compressed
-- records with their verdicts, tokens, agents, the outbox.

ALTER TABLE experiments ADD COLUMN state TEXT NOT NULL DEFAULT 'queued';
ALTER TABLE experiments ADD COLUMN since INTEGER NOT NULL DEFAULT 0; -- of the state
ALTER TABLE experiments ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE experiments ADD COLUMN requirements TEXT NOT NULL DEFAULT '{}'; -- JSON
ALTER TABLE experiments ADD COLUMN parent TEXT; -- JSON
ALTER TABLE experiments ADD COLUMN snapshot TEXT; -- JSON
ALTER TABLE experiments ADD COLUMN memory_bytes INTEGER NOT NULL DEFAULT 0; -- of a job of class 0
ALTER TABLE experiments ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
UPDATE experiments SET
    memory_bytes = coalesce(json_extract(body, '$.config.limits.memory_bytes'), 0),
    created = coalesce(unixepoch(json_extract(body, '$.created')) * 1000, 0),
    since = coalesce(unixepoch(json_extract(body, '$.created')) * 1000, 0),
    state = CASE
        WHEN EXISTS (SELECT 1 FROM jobs j WHERE j.experiment_id = experiments.id
            AND (j.state <> 'queued' OR j.attempts > 0)) THEN 'running'
        ELSE 'queued'
    END;
CREATE INDEX experiments_active ON experiments (id) WHERE state IN ('queued', 'running');

ALTER TABLE jobs ADD COLUMN size INTEGER NOT NULL DEFAULT 0; -- class: memory doubles with each
ALTER TABLE jobs ADD COLUMN losses INTEGER NOT NULL DEFAULT 0; -- leases that were taken away
ALTER TABLE jobs ADD COLUMN lapsed TEXT; -- of a queued job: the lease that ended, still welcome
ALTER TABLE jobs ADD COLUMN granted INTEGER;
ALTER TABLE jobs ADD COLUMN progress INTEGER; -- what the agent said last
ALTER TABLE jobs ADD COLUMN progressed INTEGER; -- when that last changed
UPDATE jobs SET granted = 0, progressed = lease_until WHERE state = 'leased';
CREATE UNIQUE INDEX jobs_lapsed ON jobs (lapsed) WHERE lapsed IS NOT NULL;
CREATE INDEX jobs_agents ON jobs (agent) WHERE state = 'leased';

-- Who has failed a job, so that it goes to somebody else.
CREATE TABLE setbacks (
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    agent TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    PRIMARY KEY (job_id, agent)
) STRICT, WITHOUT ROWID;
CREATE INDEX setbacks_agents ON setbacks (agent, job_id);

-- The old table's records are JSON; whoever reads tells the two apart by their first byte. The
-- program fills the verdicts in.
CREATE TABLE records (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL UNIQUE REFERENCES jobs (id),
    experiment_id INTEGER NOT NULL REFERENCES experiments (id),
    verdict TEXT NOT NULL,
    record BLOB NOT NULL, -- JSON with its own schema number, zstd-compressed
    finished INTEGER NOT NULL
) STRICT;
INSERT INTO records (job_id, experiment_id, verdict, record, finished)
    SELECT r.job_id, j.experiment_id, '', CAST(r.record AS BLOB), r.finished
    FROM results r JOIN jobs j ON j.id = r.job_id
    ORDER BY r.finished, r.job_id;
DROP TABLE results;
CREATE INDEX records_news ON records (experiment_id, number);
CREATE INDEX records_unjudged ON records (number) WHERE verdict = '';

-- The counters are kept by the program, with the verdicts. The shards are for backends that write
-- from many connections; here there is one.
DROP TRIGGER jobs_added;
DROP TRIGGER jobs_moved;
DROP TABLE job_counts;
CREATE TABLE job_counts (
    experiment_id INTEGER NOT NULL REFERENCES experiments (id),
    tier INTEGER NOT NULL,
    state TEXT NOT NULL,
    verdict TEXT NOT NULL, -- empty but for finished jobs
    shard INTEGER NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (experiment_id, tier, state, verdict, shard)
) STRICT, WITHOUT ROWID;
INSERT INTO job_counts (experiment_id, tier, state, verdict, shard, jobs)
    SELECT experiment_id, tier, state, '', 0, count(*) FROM jobs GROUP BY experiment_id, tier, state;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    hash BLOB NOT NULL, -- SHA-256 of the secret
    label TEXT NOT NULL,
    scopes TEXT NOT NULL,
    agent TEXT,
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER,
    used INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE agents (
    name TEXT PRIMARY KEY,
    capabilities TEXT NOT NULL, -- JSON
    first_seen INTEGER NOT NULL,
    seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX agents_seen ON agents (seen);

CREATE TABLE outbox (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    body TEXT NOT NULL, -- JSON
    due INTEGER NOT NULL,
    taken INTEGER NOT NULL DEFAULT 0, -- how often
    error TEXT,
    done INTEGER -- when
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (due) WHERE done IS NULL;

CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
