-- Runtime by job type: average, quantiles and total of the attempts that ended in the last while.
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
WITH quantilesTDigestMerge(0.5, 0.9, 0.95, 0.99)(m.run_state) AS p
SELECT system, job_type, sum(m.run_count) AS runs, sum(m.run_seconds) / runs AS run_avg_seconds,
    sum(m.run_seconds) AS run_total_seconds,
    p[1] AS run_p50_seconds, p[2] AS run_p90_seconds, p[3] AS run_p95_seconds, p[4] AS run_p99_seconds
FROM queue_minutes AS m
WHERE minute >= toStartOfMinute(now('UTC') - toIntervalSecond({seconds:UInt32}))
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
GROUP BY system, job_type
HAVING runs > 0
ORDER BY run_total_seconds DESC, system, job_type
