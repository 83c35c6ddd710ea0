-- Every attempt of the workflow that the trace belongs to, in order of start.
SELECT job_type, queue, job_id, attempt, outcome, error_type, started_at, queue_seconds, run_seconds, worker
FROM attempts
WHERE workflow_id = ${trace_id:singlequote}
ORDER BY isNull(started_at), started_at, job_id, attempt
LIMIT 1000
