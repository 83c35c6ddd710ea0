-- The jobs that ran longest.
-- param seconds UInt32 = 86400 -- how far back
-- param limit UInt32 = 20 -- how many
SELECT job_id, system, queue, job_type, state, attempts, enqueued_at, queue_seconds, run_seconds, trace_id
FROM jobs
WHERE enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR (enqueued_at IS NULL AND started_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}))
ORDER BY run_seconds DESC NULLS LAST
LIMIT {limit:UInt32}
