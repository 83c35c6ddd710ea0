-- The jobs of one workflow, oldest first, so that a job's parent comes before it: the rows of its tree.
-- param workflow_id String =  -- 32 hex digits
-- param limit UInt32 = 1000 -- how many
SELECT job_id, parent_id, parent_type, system, queue, job_type, state, attempts, enqueued_at,
    ready_at, started_at, ended_at,
    delay_seconds, queue_seconds, run_seconds, error_type, worker
FROM jobs
WHERE workflow_id = {workflow_id:String}
ORDER BY coalesce(enqueued_at, started_at), job_id
LIMIT {limit:UInt32}
