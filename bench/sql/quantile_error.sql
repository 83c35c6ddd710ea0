-- The states of all minutes merged, beside the exact quantiles of the same attempts: the largest relative error by
-- type.
SELECT max(arrayMax(arrayMap((a, b) -> abs(a - b) / b, merged.p, exact.p))) AS error
FROM (SELECT job_type, quantilesTDigestMerge(0.5, 0.9, 0.95, 0.99)(run_state) AS p FROM queue_minutes
    WHERE minute >= toStartOfHour(now() - toIntervalSecond({seconds:UInt32}))
        AND minute < toStartOfHour(now()) GROUP BY job_type) AS merged
JOIN (SELECT job_type, quantilesExactInclusive(0.5, 0.9, 0.95, 0.99)(assumeNotNull(run_seconds)) AS p FROM attempts
    WHERE enqueued_at >= now() - toIntervalSecond({seconds:UInt32} + 86400)
        AND ended_at >= toStartOfHour(now() - toIntervalSecond({seconds:UInt32})) AND ended_at < toStartOfHour(now())
        AND run_seconds IS NOT NULL GROUP BY job_type) AS exact USING job_type
