-- The bot's memory: comments that came in, what is to be so on GitHub, and whom to tell of which
-- experiment. Nothing was ever put into the outbox of the second schema.

CREATE TABLE inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    repo TEXT NOT NULL,
    comment INTEGER NOT NULL,
    body TEXT NOT NULL, -- JSON; empty once it is forgotten
    due INTEGER NOT NULL DEFAULT 0, -- also the end of the hold of whoever has it
    attempts INTEGER NOT NULL DEFAULT 0,
    handled INTEGER, -- when
    UNIQUE (repo, comment)
) STRICT;
CREATE INDEX inbox_waiting ON inbox (number) WHERE handled IS NULL;
CREATE INDEX inbox_handled ON inbox (handled) WHERE body <> '';

DROP TABLE outbox;
CREATE TABLE outbox (
    key TEXT PRIMARY KEY,
    repo TEXT NOT NULL,
    thread INTEGER NOT NULL,
    effect TEXT NOT NULL, -- JSON
    as_of INTEGER NOT NULL, -- the time of what it tells of
    version INTEGER NOT NULL DEFAULT 0,
    place INTEGER NOT NULL, -- in the order in which entries came to wait
    due INTEGER NOT NULL DEFAULT 0, -- also the end of the hold of whoever has it
    taken INTEGER NOT NULL DEFAULT 0, -- how often
    attempts INTEGER NOT NULL DEFAULT 0,
    comment INTEGER,
    since INTEGER NOT NULL,
    error TEXT,
    ended INTEGER -- when it was done or given up
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_threads ON outbox (repo, thread, place, key) WHERE ended IS NULL;
CREATE INDEX outbox_waiting ON outbox (place, key) WHERE ended IS NULL;
CREATE INDEX outbox_places ON outbox (place);
CREATE INDEX outbox_ended ON outbox (ended) WHERE ended IS NOT NULL;

CREATE TABLE followed (
    experiment_id INTEGER PRIMARY KEY REFERENCES experiments (id),
    repo TEXT NOT NULL,
    thread INTEGER NOT NULL,
    about TEXT NOT NULL, -- JSON
    told TEXT, -- a state
    told_since INTEGER, -- when it began
    early INTEGER NOT NULL DEFAULT 0 -- 1: the early verdict was told
) STRICT;
CREATE INDEX followed_threads ON followed (repo, thread, experiment_id);
