SELECT 1 FROM {database}.otel_traces LIMIT 1
