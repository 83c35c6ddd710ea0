-- The complete workflows that took longest.
-- param seconds UInt32 = 86400 -- how far back
-- param least_jobs UInt32 = 1 -- only workflows of at least so many jobs
-- param limit UInt32 = 20 -- how many
SELECT workflow_id, workflow_type, started_at, wall_seconds, jobs, failed_jobs, attempts, queue_seconds, run_seconds
FROM workflows
WHERE complete AND jobs >= {least_jobs:UInt32}
    AND (started_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR started_at IS NULL)
ORDER BY wall_seconds DESC
LIMIT {limit:UInt32}
