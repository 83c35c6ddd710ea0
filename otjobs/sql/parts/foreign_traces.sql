-- All spans of the traces in {fresh}, what arrives now and what is stored, as one row each.
SELECT workflow_id, span_id, target, max(f.role) AS role, max(f.publication) AS publication, max(f.parent_span_id) AS parent_span_id,
    max(f.trace_id) AS trace_id, max(f.system) AS system, max(f.queue) AS queue, max(f.job_type) AS job_type, max(f.message_id) AS message_id,
    max(f.began) AS began, max(f.ended) AS ended, max(f.due_at) AS due_at, max(f.attempt) AS attempt, max(f.retries) AS retries,
    max(f.max_attempts) AS max_attempts, max(f.said) AS said, max(f.verdict) AS verdict, max(f.verdict_at) AS verdict_at,
    max(f.error_type) AS error_type, max(f.batch) AS batch, max(f.failed) AS failed, max(f.delayed) AS delayed, max(f.worker) AS worker,
    max(f.service) AS service, max(f.release) AS release, max(f.host) AS host
FROM
(
    SELECT * FROM {fresh}
    UNION ALL
    SELECT * FROM {database}.stored_foreign_spans WHERE workflow_id IN (SELECT workflow_id FROM {fresh})
) AS f
GROUP BY workflow_id, span_id, target
