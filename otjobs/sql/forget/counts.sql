SELECT
    (SELECT uniqExact(hour, workflow_id, system, queue, job_type, job_id) FROM {database}.forget_attempt_states) AS jobs,
    (SELECT uniqExact(hour, workflow_id, system, queue, job_type, job_id, attempt) FROM {database}.forget_attempt_states) AS attempts,
    (SELECT countIf(whole) FROM {database}.forget_workflows) AS workflows,
    (SELECT countIf(NOT whole) FROM {database}.forget_workflows) AS shared_workflows,
    (SELECT count() FROM {database}.otel_traces WHERE {include forgotten_spans}) AS spans
