-- The bot's memory: comments that came in, what is to be so on GitHub, and whom to tell of which
-- experiment. Nothing was ever put into the outbox of the second schema.

CREATE TABLE inbox (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repo TEXT COLLATE "C" NOT NULL,
    comment BIGINT NOT NULL,
    body TEXT NOT NULL, -- JSON; empty once it is forgotten
    due BIGINT NOT NULL DEFAULT 0, -- also the end of the hold of whoever has it
    attempts BIGINT NOT NULL DEFAULT 0,
    handled BIGINT, -- when
    UNIQUE (repo, comment)
);
CREATE INDEX inbox_waiting ON inbox (number) WHERE handled IS NULL;
CREATE INDEX inbox_handled ON inbox (handled) WHERE body <> '';

DROP TABLE outbox;
CREATE TABLE outbox (
    key TEXT COLLATE "C" PRIMARY KEY,
    repo TEXT COLLATE "C" NOT NULL,
    thread BIGINT NOT NULL,
    effect TEXT NOT NULL, -- JSON
    as_of BIGINT NOT NULL, -- the time of what it tells of
    version BIGINT NOT NULL DEFAULT 0,
    place BIGINT NOT NULL, -- in the order in which entries came to wait
    due BIGINT NOT NULL DEFAULT 0, -- also the end of the hold of whoever has it
    taken BIGINT NOT NULL DEFAULT 0, -- how often
    attempts BIGINT NOT NULL DEFAULT 0,
    comment BIGINT,
    since BIGINT NOT NULL,
    error TEXT,
    ended BIGINT -- when it was done or given up
);
CREATE INDEX outbox_threads ON outbox (repo, thread, place, key) WHERE ended IS NULL;
CREATE INDEX outbox_waiting ON outbox (place, key) WHERE ended IS NULL;
CREATE INDEX outbox_places ON outbox (place);
CREATE INDEX outbox_ended ON outbox (ended) WHERE ended IS NOT NULL;

CREATE TABLE followed (
    experiment_id BIGINT PRIMARY KEY REFERENCES experiments (id),
    repo TEXT COLLATE "C" NOT NULL,
    thread BIGINT NOT NULL,
    about TEXT NOT NULL, -- JSON
    told TEXT COLLATE "C", -- a state
    told_since BIGINT, -- when it began
    early BIGINT NOT NULL DEFAULT 0 -- 1: the early verdict was told
);
CREATE INDEX followed_threads ON followed (repo, thread, experiment_id);
