-- The day's failed publications that the shadow does not have: rows that no stored span tells of.
DELETE FROM {database}.dispatch_failures
WHERE toDate(minute) = toDate('{day}') AND (minute, system, queue, job_type, trace_id, span_id) NOT IN
    (SELECT minute, system, queue, job_type, trace_id, span_id FROM {database}.rebuild_dispatch_failures)
