-- Queueing time of the attempts that started in each interval.
SELECT $__timeInterval(assumeNotNull(started_at)) AS time, quantileExactInclusive(0.5)(assumeNotNull(queue_seconds)) AS p50,
    quantileExactInclusive(0.9)(assumeNotNull(queue_seconds)) AS p90,
    quantileExactInclusive(0.99)(assumeNotNull(queue_seconds)) AS p99
FROM attempts
WHERE isNotNull(queue_seconds) AND $__timeFilter_ms(started_at) AND {around}
        AND {scope}
GROUP BY time
ORDER BY time
