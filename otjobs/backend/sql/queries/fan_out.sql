-- Jobs triggered inside a job: how many jobs each type dispatches, on average and at most.
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
SELECT system, job_type, count() AS jobs, sum(j.dispatched) AS dispatched_jobs, avg(j.dispatched) AS dispatched_avg,
    max(j.dispatched) AS dispatched_max,
    argMax(job_id, j.dispatched) AS example_job_id
FROM jobs AS j
WHERE coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
GROUP BY system, job_type
HAVING dispatched_jobs > 0
ORDER BY dispatched_jobs DESC, system, job_type
