-- Dead letters: jobs that failed for good and were set aside, newest first.
-- param seconds UInt32 = 86400 -- how far back
-- param limit UInt32 = 20 -- how many
SELECT job_id, system, queue, job_type, state, error_type, attempts, enqueued_at, ended_at, workflow_id, trace_id
FROM jobs
WHERE dead_letter AND coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
ORDER BY ended_at DESC
LIMIT {limit:UInt32}
