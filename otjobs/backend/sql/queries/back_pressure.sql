-- Back-pressure between stages: arrivals against starts of each queue, how its backlog grew, and when it would be gone.
-- param seconds UInt32 = 3600 -- how far back
WITH toStartOfMinute(now('UTC') - toIntervalSecond({seconds:UInt32})) AS since, toStartOfMinute(now('UTC')) AS present
SELECT system, queue,
    -- A retry comes back to the queue.
    sumIf(m.dispatched + m.retried, minute > since) / {seconds:UInt32} AS arrivals_per_second,
    sumIf(m.started, minute > since) / {seconds:UInt32} AS starts_per_second,
    arrivals_per_second / nullIf(starts_per_second, 0) AS load,
    sumIf(m.waiting, minute = since) AS waiting_before, sumIf(m.waiting, minute = present) AS waiting_now,
    toInt64(waiting_now) - toInt64(waiting_before) AS growth,
    if(starts_per_second > arrivals_per_second AND waiting_now > 0,
        waiting_now / (starts_per_second - arrivals_per_second), NULL) AS drained_in_seconds
FROM queue_minutes AS m
WHERE minute >= since
GROUP BY system, queue
ORDER BY growth DESC, load DESC NULLS LAST, system, queue
