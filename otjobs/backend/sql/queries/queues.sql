-- Each queue: who waits and runs now, whatever the age, and its jobs of the last while: starts, failures, wait p50 and
--     p95.
-- param seconds UInt32 = 86400 -- how far back its jobs are looked at
SELECT system, queue, sum(q.n_waiting) AS waiting, sum(q.n_overtaken) AS overtaken,
    sum(q.n_running) AS running, sum(q.n_jobs) AS jobs,
    sum(q.n_starts) AS starts, sum(q.n_failed) AS failed, max(q.p50) AS queue_p50_seconds,
    max(q.p95) AS queue_p95_seconds
FROM
(
    SELECT system, queue, countIf(state = 'waiting') AS n_waiting, countIf(o.overtaken) AS n_overtaken,
        countIf(state = 'running') AS n_running,
        0 AS n_jobs, 0 AS n_starts, 0 AS n_failed, NULL AS p50, NULL AS p95
    FROM open_jobs AS o
    WHERE state IN ('waiting', 'running')
    GROUP BY system, queue
    UNION ALL
    SELECT system, queue, 0, 0, 0, count(), sum(attempts), countIf(state IN ('failed', 'lost', 'expired', 'rejected')),
        round(quantileExactInclusiveOrNull(0.5)(queue_seconds), 6),
        round(quantileExactInclusiveOrNull(0.95)(queue_seconds), 6)
    FROM jobs
    WHERE coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
        AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
    GROUP BY system, queue
) AS q
GROUP BY system, queue
ORDER BY system, queue
