-- Runtime of the attempts that ended in each interval.
SELECT $__timeInterval(assumeNotNull(ended_at)) AS time, quantileExactInclusive(0.5)(assumeNotNull(run_seconds)) AS p50,
    quantileExactInclusive(0.9)(assumeNotNull(run_seconds)) AS p90,
    quantileExactInclusive(0.99)(assumeNotNull(run_seconds)) AS p99
FROM attempts
WHERE isNotNull(run_seconds) AND $__timeFilter_ms(ended_at) AND {around}
        AND {scope}
GROUP BY time
ORDER BY time
