-- The job ids of the last while that begin like this: what a person typed.
-- param prefix String =  -- the first characters
-- param seconds UInt32 = 604800 -- how far back
-- param limit UInt32 = 6 -- how many
SELECT DISTINCT job_id
FROM jobs
WHERE startsWith(job_id, {prefix:String})
    AND coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
ORDER BY job_id
LIMIT {limit:UInt32}
