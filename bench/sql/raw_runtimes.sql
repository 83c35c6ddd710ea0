-- Runtime by job type from the exporter's table: the newest span of each attempt, so that a repeated one counts once.
SELECT type, count() AS runs, avg(run) AS run_avg_seconds, sum(run) AS total, quantiles(0.5, 0.9, 0.95, 0.99)(run) AS p
FROM (SELECT any(SpanAttributes['otjobs.job.type']) AS type, any(Duration) / 1e9 AS run FROM otel_traces
    WHERE SpanKind = 'Consumer' AND Timestamp >= now64(9) - toIntervalSecond({seconds:UInt32}) GROUP BY TraceId, SpanId)
GROUP BY type
