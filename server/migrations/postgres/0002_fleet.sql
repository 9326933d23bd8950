-- A fleet: states and requirements of experiments, size classes and losses of jobs, compressed
-- records with their verdicts, counters, tokens, agents, the outbox.

ALTER TABLE experiments
    ADD COLUMN state TEXT COLLATE "C" NOT NULL DEFAULT 'queued',
    ADD COLUMN since BIGINT NOT NULL DEFAULT 0, -- of the state
    ADD COLUMN priority BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN requirements TEXT NOT NULL DEFAULT '{}', -- JSON
    ADD COLUMN parent TEXT, -- JSON
    ADD COLUMN snapshot TEXT, -- JSON
    ADD COLUMN memory_bytes BIGINT NOT NULL DEFAULT 0, -- of a job of class 0
    ADD COLUMN created BIGINT NOT NULL DEFAULT 0;
UPDATE experiments SET
    memory_bytes = coalesce((body::json -> 'config' -> 'limits' ->> 'memory_bytes')::bigint, 0),
    created = coalesce(extract(epoch FROM (body::json ->> 'created')::timestamptz)::bigint * 1000, 0),
    since = coalesce(extract(epoch FROM (body::json ->> 'created')::timestamptz)::bigint * 1000, 0),
    state = CASE
        WHEN EXISTS (SELECT 1 FROM jobs j WHERE j.experiment_id = experiments.id
            AND (j.state <> 'queued' OR j.attempts > 0)) THEN 'running'
        ELSE 'queued'
    END;
CREATE INDEX experiments_active ON experiments (id) WHERE state IN ('queued', 'running');

ALTER TABLE jobs
    ADD COLUMN size BIGINT NOT NULL DEFAULT 0, -- class: memory doubles with each
    ADD COLUMN losses BIGINT NOT NULL DEFAULT 0, -- leases that were taken away
    ADD COLUMN lapsed TEXT COLLATE "C", -- of a queued job: the lease that ended, still welcome
    ADD COLUMN granted BIGINT,
    ADD COLUMN progress BIGINT, -- what the agent said last
    ADD COLUMN progressed BIGINT; -- when that last changed
UPDATE jobs SET granted = 0, progressed = lease_until WHERE state = 'leased';
CREATE UNIQUE INDEX jobs_lapsed ON jobs (lapsed) WHERE lapsed IS NOT NULL;
CREATE INDEX jobs_agents ON jobs (agent) WHERE state = 'leased';

-- Who has failed a job, so that it goes to somebody else.
CREATE TABLE setbacks (
    job_id BIGINT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    agent TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    PRIMARY KEY (job_id, agent)
);
CREATE INDEX setbacks_agents ON setbacks (agent, job_id);

-- The old table's records are JSON; whoever reads tells the two apart by their first byte. The
-- program fills the verdicts in.
CREATE TABLE records (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id BIGINT NOT NULL UNIQUE REFERENCES jobs (id),
    experiment_id BIGINT NOT NULL REFERENCES experiments (id),
    verdict TEXT COLLATE "C" NOT NULL,
    record BYTEA NOT NULL, -- JSON with its own schema number, zstd-compressed
    finished BIGINT NOT NULL
);
-- It is compressed already.
ALTER TABLE records ALTER COLUMN record SET STORAGE EXTERNAL;
INSERT INTO records (job_id, experiment_id, verdict, record, finished)
    SELECT r.job_id, j.experiment_id, '', convert_to(r.record, 'UTF8'), r.finished
    FROM results r JOIN jobs j ON j.id = r.job_id
    ORDER BY r.finished, r.job_id;
DROP TABLE results;
CREATE INDEX records_news ON records (experiment_id, number);
CREATE INDEX records_unjudged ON records (number) WHERE verdict = '';

-- Each counter is the sum over its shards, so that transactions at the same time need not wait for
-- each other. A shard by itself may be negative. The room is for updates in place.
CREATE TABLE job_counts (
    experiment_id BIGINT NOT NULL REFERENCES experiments (id),
    tier BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    verdict TEXT COLLATE "C" NOT NULL, -- empty but for finished jobs
    shard BIGINT NOT NULL,
    jobs BIGINT NOT NULL,
    PRIMARY KEY (experiment_id, tier, state, verdict, shard)
) WITH (fillfactor = 30);
INSERT INTO job_counts (experiment_id, tier, state, verdict, shard, jobs)
    SELECT experiment_id, tier, state, '', 0, count(*) FROM jobs GROUP BY experiment_id, tier, state;

CREATE TABLE tokens (
    id TEXT COLLATE "C" PRIMARY KEY,
    hash BYTEA NOT NULL, -- SHA-256 of the secret
    label TEXT NOT NULL,
    scopes TEXT NOT NULL,
    agent TEXT COLLATE "C",
    created BIGINT NOT NULL,
    expires BIGINT,
    revoked BIGINT,
    used BIGINT
);

CREATE TABLE agents (
    name TEXT COLLATE "C" PRIMARY KEY,
    capabilities TEXT NOT NULL, -- JSON
    first_seen BIGINT NOT NULL,
    seen BIGINT NOT NULL
);
CREATE INDEX agents_seen ON agents (seen);

CREATE TABLE outbox (
    key TEXT COLLATE "C" PRIMARY KEY,
    kind TEXT NOT NULL,
    body TEXT NOT NULL, -- JSON
    due BIGINT NOT NULL,
    taken BIGINT NOT NULL DEFAULT 0, -- how often
    error TEXT,
    done BIGINT -- when
);
CREATE INDEX outbox_due ON outbox (due) WHERE done IS NULL;

CREATE TABLE deliveries (
    id TEXT COLLATE "C" PRIMARY KEY,
    seen BIGINT NOT NULL
);
