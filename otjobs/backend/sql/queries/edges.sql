-- What triggers what: jobs dispatched by each type of parent job, or by each trigger of root jobs.
-- param seconds UInt32 = 86400 -- how far back
SELECT system, trigger, trigger_name, parent_type, job_type, sum(e.dispatched) AS dispatched, max(minute) AS last_minute
FROM job_edges AS e
WHERE minute >= toStartOfMinute(now('UTC') - toIntervalSecond({seconds:UInt32}))
GROUP BY system, trigger, trigger_name, parent_type, job_type
ORDER BY dispatched DESC, job_type, trigger, trigger_name
