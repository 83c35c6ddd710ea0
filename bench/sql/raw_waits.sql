-- Queueing time by queue from the exporter's table: both spans of a job joined by its id.
WITH now64(9) - toIntervalSecond({seconds:UInt32}) AS since
SELECT c.queue AS queue, count() AS starts, avg(wait) AS queue_avg_seconds,
    quantiles(0.5, 0.9, 0.95, 0.99)(greatest(wait, 0)) AS p,
    sum(dateDiff('nanosecond', d.at, c.at)) / 1e9 AS total
FROM (SELECT SpanAttributes['messaging.message.id'] AS id, SpanAttributes['messaging.destination.name'] AS queue,
    Timestamp AS at
    FROM otel_traces WHERE SpanKind = 'Consumer' AND Timestamp >= since) AS c
JOIN (SELECT SpanAttributes['messaging.message.id'] AS id, Timestamp AS at FROM otel_traces
    WHERE SpanKind = 'Producer' AND Timestamp >= since) AS d
ON c.id = d.id
WHERE ((dateDiff('nanosecond', d.at, c.at)) / 1e9 AS wait) >= 0 GROUP BY queue
