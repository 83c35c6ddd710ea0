-- The attempts of one job.
-- param job_id String =  -- the job id
SELECT * FROM attempts WHERE job_id = {job_id:String} ORDER BY workflow_id, system, queue, enqueued_at, attempt
