-- Success and failure by queue and job type: of what ended for good in the last while.
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
SELECT system, queue, job_type, sum(m.succeeded) AS succeeded, sum(m.failed + m.expired + m.rejected + m.lost)
    AS failed, sum(m.cancelled) AS cancelled, sum(m.retried) AS retried,
    succeeded + failed + cancelled AS ended, ended / {seconds:UInt32} AS ended_per_second,
    succeeded / nullIf(ended, 0) AS success_ratio, failed / nullIf(ended, 0) AS failure_ratio
FROM queue_minutes AS m
WHERE minute >= toStartOfMinute(now('UTC') - toIntervalSecond({seconds:UInt32}))
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
GROUP BY system, queue, job_type
HAVING ended + retried > 0
ORDER BY failure_ratio DESC NULLS LAST, failed DESC, system, queue, job_type
