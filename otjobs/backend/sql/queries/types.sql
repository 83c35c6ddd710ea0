-- Each job type: attempts of the last while, failures, runtime p50 and p95, total runtime.
-- param seconds UInt32 = 86400 -- how far back
SELECT
    system, job_type,
    countIf(isNotNull(started_at)) AS attempts,
    countIf(outcome = 'success') AS succeeded,
    countIf(outcome = 'retry') AS retried,
    countIf(outcome NOT IN ('success', 'retry', 'running', 'cancelled')) AS failed,
    round(quantileExactInclusiveOrNull(0.5)(run_seconds), 6) AS run_p50_seconds,
    round(quantileExactInclusiveOrNull(0.95)(run_seconds), 6) AS run_p95_seconds,
    round(sum(run_seconds), 6) AS total_run_seconds
FROM attempts
WHERE coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
GROUP BY system, job_type
ORDER BY total_run_seconds DESC, job_type
