-- Spans with the label; spans of jobs that have it; and all spans of a trace in which no other job is.
SpanAttributes['otjobs.label.{label}'] = {value}
    OR (SpanAttributes['messaging.message.id'], if(SpanAttributes['otjobs.workflow.id'] != '',
        SpanAttributes['otjobs.workflow.id'], TraceId))
        IN (SELECT job_id, workflow_id FROM {database}.forget_attempt_states)
    OR TraceId IN (SELECT workflow_id FROM {database}.forget_workflows WHERE whole)
    OR TraceId IN (SELECT ending.trace_id FROM {collected} WHERE ending.trace_id != '')
