-- How many jobs, attempts, workflows and spans go, of what was collected: each counted by its id, so doubles count
-- once.
SELECT
    (SELECT uniqExact(workflow_id, system, queue, job_id) FROM {database}.forget_attempt_states) AS jobs,
    (SELECT uniqExact(workflow_id, system, queue, job_id, attempt) FROM {database}.forget_attempt_states
        WHERE attempt > 0) AS attempts,
    (SELECT countIf(whole) FROM {database}.forget_workflows) AS workflows,
    (SELECT countIf(NOT whole) FROM {database}.forget_workflows) AS shared_workflows,
    (SELECT count() FROM {database}.otel_traces WHERE {include forgotten_spans}) AS spans
