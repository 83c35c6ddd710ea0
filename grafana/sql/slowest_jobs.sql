-- The jobs dispatched in the time range that ran longest, all attempts together.
SELECT job_type, queue, job_id, state, attempts, enqueued_at AS dispatched_at, queue_seconds, run_seconds, trace_id AS trace
FROM jobs
WHERE isNotNull(run_seconds) AND ($__timeFilter_ms(enqueued_at) OR (isNull(enqueued_at) AND $__timeFilter_ms(started_at)))
        AND {scope}
ORDER BY run_seconds DESC, job_id
LIMIT 20
