-- The workflows of the last while, of one type or all, only open or only complete ones if wanted: newest or slowest
--     first.
-- param seconds UInt32 = 86400 -- how far back
-- param workflow_type String =  -- the root job's type
-- param only String =  -- one of open, complete, failed
-- param sort String = newest -- one of newest, slowest
-- param limit UInt32 = 50 -- how many
SELECT workflow_id, workflow_type, trigger, trigger_name, started_at, ended_at, complete, jobs,
    open_jobs, failed_jobs, attempts,
    wall_seconds, queue_seconds, run_seconds
FROM workflows
WHERE (started_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR started_at IS NULL)
    AND ({workflow_type:String} = '' OR workflow_type = {workflow_type:String})
    AND ({only:String} = '' OR ({only:String} = 'open' AND NOT complete) OR ({only:String} = 'complete' AND complete)
        OR ({only:String} = 'failed' AND failed_jobs > 0))
ORDER BY if({sort:String} = 'slowest', wall_seconds, NULL) DESC NULLS LAST, started_at DESC, workflow_id
LIMIT {limit:UInt32}
