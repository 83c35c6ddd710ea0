-- Jobs in each queue over time: the most that waited at the end of a minute of each interval.
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
-- param step_seconds UInt32 = 300 -- length of an interval
SELECT toStartOfInterval(minute, toIntervalSecond({step_seconds:UInt32})) AS time, system, queue, max(m.n) AS waiting,
    max(m.oldest) AS oldest_wait_seconds
FROM
(
    SELECT minute, system, queue, sum(waiting) AS n, max(oldest_wait_seconds) AS oldest
    FROM queue_minutes
    WHERE minute >= toStartOfMinute(now('UTC') - toIntervalSecond({seconds:UInt32})) AND waiting > 0
        AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
    GROUP BY minute, system, queue
) AS m
GROUP BY time, system, queue
ORDER BY time, system, queue
