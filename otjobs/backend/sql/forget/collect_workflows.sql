-- The workflows of these jobs, and of each whether all its jobs go.
INSERT INTO {database}.forget_workflows
SELECT workflow_id, min((hour, system, queue, job_type, job_id) IN
    (SELECT hour, system, queue, job_type, job_id FROM {database}.forget_attempt_states)) AS whole
FROM {database}.attempt_states
-- Without the notes of composites, which are of no job.
WHERE job_id != '' AND workflow_id IN (SELECT workflow_id FROM {database}.forget_attempt_states)
GROUP BY workflow_id
