-- How many rows `otel_traces_trace_id_ts` has, merged.
SELECT count() FROM {database}.otel_traces_trace_id_ts FINAL
