-- Which job types take the most time inside one workflow.
-- param workflow_id String =  -- 32 hex digits
SELECT system, job_type, count() AS jobs, sum(j.attempts) AS attempts, sum(j.run_seconds) AS run_seconds,
    sum(j.queue_seconds) AS queue_seconds,
    run_seconds / nullIf(sum(run_seconds) OVER (), 0) AS run_share
FROM jobs AS j
WHERE workflow_id = {workflow_id:String}
GROUP BY system, job_type
ORDER BY run_seconds DESC NULLS LAST, system, job_type
