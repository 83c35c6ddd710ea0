-- Release against release: attempts, failures and runtime of each job type under each release of its service.
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- only this queue
-- param job_type String =  -- only this job type
SELECT system, job_type, service, release, countIf(started_at IS NOT NULL) AS started,
    countIf(outcome IN ('failure', 'lost', 'expired', 'rejected')) AS failed,
    countIf(outcome = 'retry') AS retried, (failed + retried) / nullIf(countIf(ended_at IS NOT NULL), 0)
        AS trouble_ratio,
    avg(a.run_seconds) AS run_avg_seconds, quantileExactInclusiveOrNull(0.5)(a.run_seconds) AS run_p50_seconds,
    quantileExactInclusiveOrNull(0.95)(a.run_seconds) AS run_p95_seconds,
    avg(a.cpu_seconds) AS cpu_avg_seconds, min(a.started_at) AS first_started_at, max(a.started_at) AS last_started_at
FROM attempts AS a
WHERE coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
GROUP BY system, job_type, service, release
ORDER BY system, job_type, service, first_started_at, release
