-- Jobs in the queue now, by queue and type: how many could start, and how long the oldest has waited.
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
SELECT system, queue, job_type, waiting, oldest_wait_seconds
FROM queue_minutes
WHERE minute = toStartOfMinute(now('UTC')) AND waiting > 0
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
ORDER BY waiting DESC, system, queue, job_type
