-- What the last while brought: jobs by how they stand, workflows by whether they are complete.
-- param seconds UInt32 = 86400 -- how far back
SELECT
    count() AS jobs,
    countIf(isNull(ended_at)) AS open_jobs,
    countIf(state = 'succeeded') AS succeeded,
    countIf(state IN ('failed', 'lost', 'expired', 'rejected')) AS failed,
    countIf(state = 'cancelled') AS cancelled,
    countIf(dead_letter) AS dead_letters,
    countIf(j.attempts > 1) AS retried,
    sum(j.attempts) AS attempts,
    countIf(trigger = 'schedule') AS scheduled,
    countIf(delay_seconds > 0) AS delayed
FROM jobs AS j
WHERE coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
