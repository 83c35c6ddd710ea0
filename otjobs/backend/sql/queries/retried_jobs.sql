-- Jobs that needed more than one attempt, those with most first.
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
-- param limit UInt32 = 50 -- how many
SELECT job_id, system, queue, job_type, state, attempts, max_attempts, error_type, enqueued_at,
    ended_at, run_seconds, workflow_id
FROM jobs
WHERE coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
    AND attempts > 1
ORDER BY attempts DESC, coalesce(enqueued_at, started_at) DESC, job_id
LIMIT {limit:UInt32}
