-- Spans per hour of their start, from the day before the first key day on: clocks differ.
SELECT toStartOfHour(toDateTime(Timestamp, 'UTC')) AS hour, count() AS spans
FROM {database}.otel_traces
WHERE Timestamp >= toDateTime64({from:String}, 9, 'UTC')
GROUP BY hour ORDER BY hour
