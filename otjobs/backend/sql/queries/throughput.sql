-- Throughput over time: what arrived, started and ended in each interval, per second, and how it ended.
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
-- param step_seconds UInt32 = 300 -- length of an interval
SELECT toStartOfInterval(minute, toIntervalSecond({step_seconds:UInt32})) AS time,
    sum(m.dispatched) AS dispatched, sum(m.started) AS started,
    sum(m.succeeded) AS succeeded, sum(m.failed + m.expired + m.rejected + m.lost) AS failed, sum(m.retried) AS retried,
    sum(m.cancelled) AS cancelled,
    (succeeded + failed + cancelled) / {step_seconds:UInt32} AS ended_per_second,
    succeeded / nullIf(succeeded + failed + cancelled, 0) AS success_ratio,
    failed / nullIf(succeeded + failed + cancelled, 0) AS failure_ratio
FROM queue_minutes AS m
WHERE minute >= toStartOfMinute(now('UTC') - toIntervalSecond({seconds:UInt32}))
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
GROUP BY time
ORDER BY time
