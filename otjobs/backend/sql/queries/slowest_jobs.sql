-- The jobs that ran longest.
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
-- param limit UInt32 = 20 -- how many
SELECT job_id, system, queue, job_type, state, attempts, enqueued_at, queue_seconds, run_seconds, trace_id
FROM jobs
WHERE coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
ORDER BY run_seconds DESC NULLS LAST
LIMIT {limit:UInt32}
