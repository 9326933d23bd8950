-- Experiments, their plans, the queue, and results. Times are milliseconds since 1970, UTC;
-- tiers are numbers in the order in which they run (0 is `lib`, 1 is `all`). Names are compared
-- byte by byte, whatever the database's collation.

CREATE TABLE experiments (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    body TEXT NOT NULL -- JSON of the experiment
);

CREATE TABLE plan (
    experiment_id BIGINT NOT NULL REFERENCES experiments (id),
    position BIGINT NOT NULL, -- from 0, without gaps
    crate_id TEXT COLLATE "C" NOT NULL,
    runs BIGINT NOT NULL CHECK (runs IN (0, 1)), -- 0: skipped
    entry TEXT NOT NULL, -- JSON of the plan's entry
    PRIMARY KEY (experiment_id, position),
    UNIQUE (experiment_id, crate_id)
);

CREATE TABLE jobs (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment_id BIGINT NOT NULL,
    tier BIGINT NOT NULL CHECK (tier IN (0, 1)),
    position BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'leased', 'finished', 'error')),
    attempts BIGINT NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    lease TEXT COLLATE "C" UNIQUE, -- of a leased job: its holder; of a finished one: whose result
    lease_until BIGINT,
    agent TEXT COLLATE "C", -- who has or last had it
    error TEXT, -- the last failure of ours, if there was one
    UNIQUE (experiment_id, tier, position),
    FOREIGN KEY (experiment_id, position) REFERENCES plan (experiment_id, position),
    CHECK ((state IN ('leased', 'finished')) = (lease IS NOT NULL)),
    CHECK ((state = 'leased') = (lease_until IS NOT NULL)),
    CHECK (state <> 'error' OR error IS NOT NULL)
);

-- Claiming looks at what waits and at what has expired, and never at what is done.
CREATE INDEX jobs_queue ON jobs (experiment_id, tier, attempts, position) WHERE state = 'queued';
CREATE INDEX jobs_leases ON jobs (lease_until) WHERE state = 'leased';

CREATE TABLE results (
    job_id BIGINT PRIMARY KEY REFERENCES jobs (id),
    record TEXT NOT NULL, -- JSON of the job's record, with its own schema number
    finished BIGINT NOT NULL
);

CREATE TABLE facts (
    experiment_id BIGINT NOT NULL REFERENCES experiments (id),
    key TEXT COLLATE "C" NOT NULL,
    value TEXT NOT NULL, -- JSON
    PRIMARY KEY (experiment_id, key)
);
