-- The longest jobs of each job type: runtime of all attempts together.
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
-- param each UInt32 = 3 -- how many of each type
SELECT system, job_type, job_id, queue, state, attempts, enqueued_at, queue_seconds, run_seconds, workflow_id
FROM jobs
WHERE coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
    AND run_seconds IS NOT NULL
ORDER BY system, job_type, run_seconds DESC, job_id
LIMIT {each:UInt32} BY system, job_type
