-- Why jobs failed: by type, state and error, the newest example of each.
-- param seconds UInt32 = 86400 -- how far back
SELECT system, queue, job_type, state, error_type, count() AS jobs, countIf(dead_letter) AS dead_letters,
    max(ended_at) AS last_at,
    argMax(job_id, ended_at) AS example_job_id
FROM jobs
WHERE state IN ('failed', 'lost', 'expired', 'rejected')
    AND coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
GROUP BY system, queue, job_type, state, error_type
ORDER BY jobs DESC, job_type, error_type
