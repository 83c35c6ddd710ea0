-- Why jobs failed for good in the time range: each reason once, with its newest example.
SELECT job_type, queue, state, error_type, count() AS jobs, countIf(dead_letter) AS dead_letters, max(ended_at) AS last_at,
    argMax(trace_id, (ended_at, job_id)) AS trace
FROM jobs
WHERE state IN ('failed', 'lost', 'expired', 'rejected') AND $__timeFilter_ms(ended_at) AND {around}
        AND {scope}
GROUP BY system, job_type, queue, state, error_type
ORDER BY jobs DESC, job_type, queue, state, error_type
LIMIT 100
