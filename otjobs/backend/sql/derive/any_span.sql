-- Whether any span is stored at all.
SELECT 1 FROM {database}.otel_traces LIMIT 1
