-- Deletes the spans. What is to go is named by tables that were made for it, the same on every replica.
ALTER TABLE {database}.dispatch_failures DELETE WHERE (trace_id, span_id) IN
    (SELECT TraceId, SpanId FROM {database}.otel_traces WHERE SpanAttributes['otjobs.label.{label}'] = {value})
        SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1;
ALTER TABLE {database}.otel_traces DELETE WHERE {include forgotten_spans}
    SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1;
ALTER TABLE {database}.otel_traces_trace_id_ts DELETE WHERE TraceId
    IN (SELECT workflow_id FROM {database}.forget_workflows WHERE whole)
    OR TraceId IN (SELECT ending.trace_id FROM {collected} WHERE ending.trace_id != '')
        SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1;
