SELECT count() FROM {database}.otel_traces_trace_id_ts FINAL
