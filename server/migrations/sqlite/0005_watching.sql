-- Watching: the failures of ours of an experiment, found without looking at its other jobs.
CREATE INDEX jobs_errors ON jobs (experiment_id, tier, position) WHERE state = 'error';
