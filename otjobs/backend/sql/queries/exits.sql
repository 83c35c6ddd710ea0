-- Every exit point: the ways in which attempts left each queue, and what never got in.
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
SELECT system, queue, job_type, sum(m.dispatched) AS dispatched, sum(m.dispatch_failed) AS dispatch_failed,
    sum(m.started) AS started, sum(m.succeeded) AS succeeded,
    sum(m.failed) AS failed, sum(m.retried) AS retried, sum(m.expired) AS expired, sum(m.cancelled) AS cancelled,
    sum(m.rejected) AS rejected, sum(m.lost) AS lost
FROM queue_minutes AS m
WHERE minute >= toStartOfMinute(now('UTC') - toIntervalSecond({seconds:UInt32}))
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
GROUP BY system, queue, job_type
HAVING dispatched + dispatch_failed + started + succeeded + failed + retried + expired + cancelled + rejected + lost > 0
ORDER BY system, queue, job_type
