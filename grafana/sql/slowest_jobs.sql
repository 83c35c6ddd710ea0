-- The jobs dispatched in the time range that ran longest, all attempts together. A job whose producer is not traced
-- counts by its start.
SELECT job_type, queue, job_id, state, attempts, enqueued_at AS dispatched_at, queue_seconds, run_seconds, trace_id AS trace
FROM jobs
WHERE isNotNull(run_seconds) AND $__timeFilter_ms(coalesce(enqueued_at, started_at)) AND {around}
        AND {scope}
ORDER BY run_seconds DESC, job_id
LIMIT 20
