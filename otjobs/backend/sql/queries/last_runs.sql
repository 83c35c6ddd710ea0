-- Each job type: when it last ran and what triggered that, its last success and failure, its usual interval and its
--     silence.
-- param job_type String =  -- only this job type
SELECT system, job_type, last_started_at, last_trigger, last_trigger_name, last_succeeded_at, last_failed_at,
    first_started_at, usual_interval_seconds, silent_seconds
FROM job_types
WHERE ({job_type:String} = '' OR job_type = {job_type:String})
ORDER BY last_started_at DESC, system, job_type
