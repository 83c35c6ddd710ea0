-- Open jobs now, by queue, type and state, with the oldest of each, and how many of those that wait others overtook.
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
SELECT system, queue, job_type, state, count() AS jobs, countIf(j.overtaken) AS overtaken,
    min(coalesce(enqueued_at, started_at)) AS oldest_at,
    argMin(job_id, coalesce(enqueued_at, started_at)) AS oldest_job_id
FROM open_jobs AS j
WHERE ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
GROUP BY system, queue, job_type, state
ORDER BY system, queue, job_type, state
