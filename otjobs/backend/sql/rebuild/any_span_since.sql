SELECT count() FROM (SELECT 1 FROM {database}.otel_traces WHERE Timestamp >= toDateTime64({from:String}, 9, 'UTC') LIMIT 1)
