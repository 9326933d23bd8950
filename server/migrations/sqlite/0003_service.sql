-- A service: commands that are carried out once, and when an experiment began.

-- The key of a command that was carried out, and the experiment that it made or changed.
CREATE TABLE commands (
    key TEXT NOT NULL PRIMARY KEY,
    experiment_id INTEGER NOT NULL REFERENCES experiments (id),
    done INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE experiments ADD COLUMN started INTEGER; -- when its first job was granted
UPDATE experiments SET started = since WHERE state = 'running';
