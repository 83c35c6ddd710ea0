-- The days that derived tables have, or could have, rows of.
SELECT DISTINCT day FROM
(
    SELECT toDate(hour) AS day FROM {database}.attempt_states
    UNION ALL
    SELECT toDate(Timestamp, 'UTC') FROM {database}.otel_traces
)
ORDER BY day
