-- Which job types take the most time inside the workflows of a type, or of all types.
-- param seconds UInt32 = 86400 -- how far back
-- param workflow_type String =  -- only workflows of this type of root job
SELECT workflow_type, system, job_type, count() AS jobs, uniqExact(workflow_id) AS workflows,
    sum(j.run_seconds) AS run_seconds,
    run_seconds / workflows AS run_seconds_per_workflow, sum(j.queue_seconds) AS queue_seconds,
    run_seconds / nullIf(sum(run_seconds) OVER (PARTITION BY workflow_type), 0) AS run_share
FROM jobs AS j
WHERE coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
    AND ({workflow_type:String} = '' OR workflow_type = {workflow_type:String})
GROUP BY workflow_type, system, job_type
ORDER BY workflow_type, run_seconds DESC NULLS LAST, system, job_type
