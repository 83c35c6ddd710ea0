-- The attempts of one workflow's jobs, oldest job first: the bars of its timeline.
-- param workflow_id String =  -- 32 hex digits
-- param limit UInt32 = 3000 -- how many
SELECT job_id, system, queue, job_type, attempt, published_at, ready_at, started_at, ended_at, outcome, error_type
FROM attempts
WHERE workflow_id = {workflow_id:String}
ORDER BY coalesce(enqueued_at, started_at), job_id, attempt
LIMIT {limit:UInt32}
