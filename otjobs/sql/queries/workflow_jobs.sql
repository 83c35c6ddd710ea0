-- The jobs of one workflow, oldest first: the rows of its tree.
-- param workflow_id String =  -- 32 hex digits
SELECT job_id, parent_id, system, queue, job_type, state, attempts, enqueued_at, ready_at, started_at, ended_at, queue_seconds, run_seconds, error_type, worker
FROM jobs
WHERE workflow_id = {workflow_id:String}
ORDER BY enqueued_at, started_at, job_id
