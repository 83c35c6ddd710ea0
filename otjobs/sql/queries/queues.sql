-- Each queue: waiting and running now, and its jobs of the last while: starts, failures, wait p50 and p95.
-- param seconds UInt32 = 86400 -- how far back
SELECT
    system, queue,
    countIf(state IN ('waiting', 'retrying')) AS waiting,
    countIf(state = 'running') AS running,
    count() AS jobs,
    sum(attempts) AS starts,
    countIf(state IN ('failed', 'lost', 'expired', 'rejected')) AS failed,
    round(quantileExactInclusiveOrNull(0.5)(queue_seconds), 6) AS queue_p50_seconds,
    round(quantileExactInclusiveOrNull(0.95)(queue_seconds), 6) AS queue_p95_seconds
FROM jobs
WHERE coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
GROUP BY system, queue
ORDER BY system, queue
