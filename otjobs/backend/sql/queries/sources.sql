-- What triggers most, and is anything new: routes, schedules and parent types by the jobs they dispatched, beside the
--     time before.
-- param seconds UInt32 = 86400 -- how far back; it is compared with as long a time before
-- param limit UInt32 = 20 -- how many
WITH toStartOfMinute(now('UTC') - toIntervalSecond({seconds:UInt32})) AS since,
    toStartOfMinute(now('UTC') - toIntervalSecond(2 * {seconds:UInt32})) AS before
SELECT trigger, trigger_name, job_type, sumIf(e.dispatched, minute >= since) AS jobs, sum(e.dispatched) - jobs
    AS jobs_before, jobs_before = 0 AS is_new
FROM job_edges AS e
WHERE minute >= before
GROUP BY trigger, trigger_name, job_type
HAVING jobs > 0
ORDER BY is_new DESC, jobs DESC, trigger, trigger_name, job_type
LIMIT {limit:UInt32}
