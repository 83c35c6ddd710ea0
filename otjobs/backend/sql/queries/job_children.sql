-- The jobs that one job dispatched, oldest first.
-- param job_id String =  -- the parent's job id
-- param workflow_id String =  -- the parent's workflow, 32 hex digits
-- param limit UInt32 = 50 -- how many
SELECT job_id, system, queue, job_type, state, attempts, enqueued_at, queue_seconds,
    run_seconds, error_type, parent_type
FROM jobs
WHERE workflow_id = {workflow_id:String} AND parent_id = {job_id:String}
ORDER BY coalesce(enqueued_at, started_at), job_id
LIMIT {limit:UInt32}
