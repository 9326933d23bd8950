-- Experiments, their plans, the queue, and results. Times are milliseconds since 1970, UTC;
-- tiers are numbers in the order in which they run (0 is `lib`, 1 is `all`).

CREATE TABLE experiments (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL -- JSON of the experiment
) STRICT;

CREATE TABLE plan (
    experiment_id INTEGER NOT NULL REFERENCES experiments (id),
    position INTEGER NOT NULL, -- from 0, without gaps
    crate_id TEXT NOT NULL,
    runs INTEGER NOT NULL CHECK (runs IN (0, 1)), -- 0: skipped
    entry TEXT NOT NULL, -- JSON of the plan's entry
    PRIMARY KEY (experiment_id, position),
    UNIQUE (experiment_id, crate_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    experiment_id INTEGER NOT NULL,
    tier INTEGER NOT NULL CHECK (tier IN (0, 1)),
    position INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'leased', 'finished', 'error')),
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    lease TEXT UNIQUE, -- of a leased job: its holder; of a finished one: whose result it is
    lease_until INTEGER,
    agent TEXT, -- who has or last had it
    error TEXT, -- the last failure of ours, if there was one
    UNIQUE (experiment_id, tier, position),
    FOREIGN KEY (experiment_id, position) REFERENCES plan (experiment_id, position),
    CHECK ((state IN ('leased', 'finished')) = (lease IS NOT NULL)),
    CHECK ((state = 'leased') = (lease_until IS NOT NULL)),
    CHECK (state <> 'error' OR error IS NOT NULL)
) STRICT;

-- Claiming looks at what waits and at what has expired, and never at what is done.
CREATE INDEX jobs_queue ON jobs (experiment_id, tier, attempts, position) WHERE state = 'queued';
CREATE INDEX jobs_leases ON jobs (lease_until) WHERE state = 'leased';

CREATE TABLE results (
    job_id INTEGER PRIMARY KEY REFERENCES jobs (id),
    record TEXT NOT NULL, -- JSON of the job's record, with its own schema number
    finished INTEGER NOT NULL
) STRICT;

-- How many jobs are in which state, kept by the triggers below, so that counting costs the same
-- however many jobs there are.
CREATE TABLE job_counts (
    experiment_id INTEGER NOT NULL REFERENCES experiments (id),
    tier INTEGER NOT NULL,
    state TEXT NOT NULL,
    jobs INTEGER NOT NULL CHECK (jobs >= 0),
    PRIMARY KEY (experiment_id, tier, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER jobs_added AFTER INSERT ON jobs
BEGIN
    INSERT INTO job_counts (experiment_id, tier, state, jobs)
    VALUES (NEW.experiment_id, NEW.tier, NEW.state, 1)
    ON CONFLICT (experiment_id, tier, state) DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER jobs_moved AFTER UPDATE OF state ON jobs WHEN OLD.state <> NEW.state
BEGIN
    UPDATE job_counts SET jobs = jobs - 1
    WHERE experiment_id = OLD.experiment_id AND tier = OLD.tier AND state = OLD.state;
    INSERT INTO job_counts (experiment_id, tier, state, jobs)
    VALUES (NEW.experiment_id, NEW.tier, NEW.state, 1)
    ON CONFLICT (experiment_id, tier, state) DO UPDATE SET jobs = jobs + 1;
END;

-- Small facts about an experiment: toolchains, sandbox, traffic, when it started and ended.
CREATE TABLE facts (
    experiment_id INTEGER NOT NULL REFERENCES experiments (id),
    key TEXT NOT NULL,
    value TEXT NOT NULL, -- JSON
    PRIMARY KEY (experiment_id, key)
) STRICT, WITHOUT ROWID;
