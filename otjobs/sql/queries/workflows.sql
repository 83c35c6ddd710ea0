-- The newest workflows, those of one type if given.
-- param seconds UInt32 = 86400 -- how far back
-- param workflow_type String =  -- the root job's type
-- param limit UInt32 = 50 -- how many
SELECT workflow_id, workflow_type, trigger, trigger_name, started_at, ended_at, complete, jobs, open_jobs, failed_jobs, attempts,
    wall_seconds, queue_seconds, run_seconds
FROM workflows
WHERE (started_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR started_at IS NULL)
    AND ({workflow_type:String} = '' OR workflow_type = {workflow_type:String})
ORDER BY started_at DESC
LIMIT {limit:UInt32}
