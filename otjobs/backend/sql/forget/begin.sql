-- The states of the jobs that carry the label, and their workflows: those in which every job does, and others.
DROP TABLE IF EXISTS {database}.forget_attempt_states SYNC;
DROP TABLE IF EXISTS {database}.forget_workflows SYNC;
-- Of no engine that is replicated: every replica has its own.
CREATE TABLE {database}.forget_attempt_states ENGINE = MergeTree ORDER BY tuple() AS SELECT *
    FROM {database}.attempt_states WHERE 0;
CREATE TABLE {database}.forget_workflows (workflow_id String, whole UInt8) ENGINE = MergeTree ORDER BY workflow_id;
