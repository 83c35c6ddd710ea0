-- Wall time by workflow type from the exporter's table: traces in which as many jobs ended as were dispatched.
SELECT root, count() AS completed, avg(wall) AS wall_avg_seconds, quantiles(0.5, 0.9, 0.95, 0.99)(wall) AS p
FROM (SELECT TraceId, anyIf(SpanAttributes['otjobs.job.type'], ParentSpanId = '') AS root,
        uniqExactIf(SpanAttributes['messaging.message.id'], SpanKind = 'Producer') AS dispatched,
        uniqExactIf(SpanAttributes['messaging.message.id'], SpanKind = 'Consumer') AS ended,
        (max(toUnixTimestamp64Nano(Timestamp) + toInt64(Duration)) - min(toUnixTimestamp64Nano(Timestamp))) / 1e9
            AS wall
    FROM otel_traces WHERE Timestamp >= now64(9) - toIntervalSecond({seconds:UInt32}) GROUP BY TraceId)
WHERE dispatched = ended GROUP BY root
