-- Duplicates: spans stored more than once, which count once in every figure, and messages that a broker delivered
--     again.
-- param seconds UInt32 = 3600 -- how far back
-- param step_seconds UInt32 = 300 -- length of an interval
SELECT toStartOfInterval(d.at, toIntervalSecond({step_seconds:UInt32})) AS time, sum(d.n_spans) AS spans,
    sum(d.n_duplicates) AS duplicate_spans,
    sum(d.n_redelivered) AS redelivered_attempts
FROM
(
    SELECT minute AS at, spans AS n_spans, duplicates AS n_duplicates, 0 AS n_redelivered FROM pipeline_health
        WHERE minute >= toStartOfMinute(now('UTC') - toIntervalSecond({seconds:UInt32}))
    UNION ALL
    SELECT toStartOfMinute(toDateTime(coalesce(started_at, ended_at), 'UTC')), 0, 0, count()
    FROM attempts
    WHERE redelivered AND coalesce(started_at, ended_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
        -- A message may be delivered again long after it was dispatched; a day is looked through.
        AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) - toIntervalDay(1)
            OR enqueued_at IS NULL)
    GROUP BY ALL
) AS d
GROUP BY time
HAVING spans + duplicate_spans + redelivered_attempts > 0
ORDER BY time
