-- Queueing time by queue: average, quantiles and total of the attempts that started in the last while.
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
WITH quantilesTDigestMerge(0.5, 0.9, 0.95, 0.99)(m.queue_state) AS p
SELECT system, queue, sum(m.queue_count) AS starts, sum(m.queue_seconds) / starts AS queue_avg_seconds,
    sum(m.queue_seconds) AS queue_total_seconds,
    p[1] AS queue_p50_seconds, p[2] AS queue_p90_seconds, p[3] AS queue_p95_seconds, p[4] AS queue_p99_seconds
FROM queue_minutes AS m
WHERE minute >= toStartOfMinute(now('UTC') - toIntervalSecond({seconds:UInt32}))
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
GROUP BY system, queue
HAVING starts > 0
ORDER BY system, queue
