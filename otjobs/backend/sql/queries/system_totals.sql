-- The whole system in the last while: total runtime, total queueing time, and how many jobs came and went.
-- param seconds UInt32 = 86400 -- how far back
SELECT sum(m.run_seconds) AS run_total_seconds, sum(m.queue_seconds) AS queue_total_seconds,
    sum(m.dispatched) AS dispatched,
    sum(m.started) AS started, sum(m.succeeded) AS succeeded, sum(m.retried) AS retried,
    sum(m.failed + m.expired + m.rejected + m.lost) AS failed, sum(m.cancelled) AS cancelled,
    -- How many workers' worth of work that was: runtime per second.
    run_total_seconds / {seconds:UInt32} AS busy_workers
FROM queue_minutes AS m
WHERE minute >= toStartOfMinute(now('UTC') - toIntervalSecond({seconds:UInt32}))
