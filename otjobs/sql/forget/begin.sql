-- The states of the jobs that carry the label, and their workflows: those in which every job does, and others.
DROP TABLE IF EXISTS {database}.forget_attempt_states SYNC;
DROP TABLE IF EXISTS {database}.forget_workflows SYNC;
CREATE TABLE {database}.forget_attempt_states AS {database}.attempt_states;
CREATE TABLE {database}.forget_workflows (workflow_id String, whole UInt8) ENGINE = MergeTree ORDER BY workflow_id;
