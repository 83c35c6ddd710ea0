-- Jobs in the queue now, by queue and type: how many could start, how many of them others overtook, how long the oldest
--     has waited.
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
SELECT system, queue, job_type, count() AS waiting, countIf(j.overtaken) AS overtaken,
    (toUnixTimestamp64Nano(now64(9, 'UTC')) - toUnixTimestamp64Nano(min(waiting_since))) / 1e9 AS oldest_wait_seconds
FROM open_jobs AS j
WHERE state = 'waiting' AND ({queue:String} = '' OR queue = {queue:String})
    AND ({job_type:String} = '' OR job_type = {job_type:String})
GROUP BY system, queue, job_type
ORDER BY waiting DESC, system, queue, job_type
