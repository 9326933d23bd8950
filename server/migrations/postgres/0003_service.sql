-- A service: commands that are carried out once, and when an experiment began.

-- The key of a command that was carried out, and the experiment that it made or changed.
CREATE TABLE commands (
    key TEXT NOT NULL PRIMARY KEY,
    experiment_id BIGINT NOT NULL REFERENCES experiments (id),
    done BIGINT NOT NULL
);

ALTER TABLE experiments ADD COLUMN started BIGINT; -- when its first job was granted
UPDATE experiments SET started = since WHERE state = 'running';
