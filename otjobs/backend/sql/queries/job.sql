-- One job by its id (several, where libraries use an id twice).
-- param job_id String =  -- the job id
SELECT * FROM jobs WHERE job_id = {job_id:String} ORDER BY enqueued_at
