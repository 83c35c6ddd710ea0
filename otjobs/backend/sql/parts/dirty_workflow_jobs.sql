-- All rows of the jobs of workflows, given as an array of (hour, hash of the id) in {pairs}, with what the figures of a
-- workflow need.
SELECT hour, workflow_id, job_type, job_id, workflow_type, workflow_started_at, trigger,
    trigger_name, enqueued_at, ended_at,
    state, attempts, queue_seconds, run_seconds, roots, parent_id, parent_type, parent_attempt, is_last,
    last_attempt, earlier_settled,
    own_ended_at, own_dispatched, redelivered, pending
FROM {database}.job_rows
WHERE (hour, cityHash64(workflow_id)) IN (SELECT arrayJoin({pairs}))
