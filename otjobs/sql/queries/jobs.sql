-- The newest jobs, filtered by queue, job type and state ('' is any).
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- the queue
-- param job_type String =  -- the job type
-- param state String =  -- scheduled, waiting, running, succeeded, failed, retrying, expired, cancelled, rejected, lost
-- param limit UInt32 = 50 -- how many
SELECT job_id, system, queue, job_type, state, attempts, enqueued_at, delay_seconds, queue_seconds, run_seconds, error_type, worker, trace_id
FROM jobs
WHERE (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
    AND ({state:String} = '' OR state = {state:String})
ORDER BY coalesce(enqueued_at, started_at) DESC
LIMIT {limit:UInt32}
