-- Whether any span is stored since a time: without one a rebuild would leave nothing.
SELECT count() FROM (SELECT 1 FROM {database}.otel_traces WHERE Timestamp >= toDateTime64({from:String}, 9, 'UTC')
    LIMIT 1)
