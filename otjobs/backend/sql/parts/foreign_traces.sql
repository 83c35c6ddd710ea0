-- All spans of the traces in {fresh}, what arrives now and what is stored, as one row each.
SELECT workflow_id, span_id, target, max(f.role) AS role, max(f.publication) AS publication,
    max(f.parent_span_id) AS parent_span_id,
    max(f.system) AS system, max(f.queue) AS queue, max(f.job_type) AS job_type,
    max(f.message_id) AS message_id, max(f.began) AS began,
    max(f.due_at) AS due_at, max(f.attempt) AS attempt, max(f.retries) AS retries,
    max(f.batch) AS batch, max(f.failed) AS failed,
    max(f.delayed) AS delayed, max(f.service) AS service, max(f.host) AS host, max(f.verdict) AS verdict,
    (max(f.ended), span_id, toString(max(f.said)), toString(verdict), max(f.verdict_at),
        toString(max(f.error_type)), toString(max(f.worker)),
        toString(service), toString(max(f.release)), toString(host), max(f.trace_id), toString(queue),
        max(f.max_attempts), retries) AS run
FROM
(
    SELECT * FROM {fresh}
    UNION ALL
    SELECT * FROM {database}.stored_foreign_spans WHERE workflow_id IN (SELECT workflow_id FROM {fresh})
) AS f
GROUP BY workflow_id, span_id, target
