-- Which job types need more than one attempt, and how often.
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
SELECT system, queue, job_type, count() AS jobs, countIf(j.attempts > 1) AS retried_jobs,
    retried_jobs / jobs AS retried_ratio, max(j.attempts) AS most_attempts,
    argMax(job_id, j.attempts) AS example_job_id
FROM jobs AS j
WHERE coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
GROUP BY system, queue, job_type
HAVING retried_jobs > 0
ORDER BY retried_jobs DESC, system, queue, job_type
