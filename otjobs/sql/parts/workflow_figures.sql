-- The row of every workflow of the jobs in {jobs}, which has all rows of a workflow or none.
-- Complete is exact, without a grace period: (a) no known job is open, where a job is also known from a child that names
-- it; (b) every attempt below a job's last one has ended or was redelivered; (c) ended jobs = roots + what the attempts
-- say they dispatched, or more where more children are seen. A node is an attempt of a job; one row goes to it for the
-- attempt itself, for each child that names it, and for a redelivery that followed it, so that nothing is joined.
SELECT
    workflow_id,
    workflow_id AS trace_id,
    argMinIf(u.type, (isNull(u.root_at), u.root_at, u.type), u.is_job) AS workflow_type,
    argMinIf(u.trigger, (isNull(u.enqueued_at), u.enqueued_at, u.id), u.is_root) AS trigger,
    argMinIf(u.trigger_name, (isNull(u.enqueued_at), u.enqueued_at, u.id), u.is_root) AS trigger_name,
    min(u.root_at) AS started_at,
    if(complete, max(u.ended_at), NULL) AS ended_at,
    (open_jobs = 0 AND jobs > 0 AND sum(u.unsettled) = 0 AND jobs = greatest(sum(u.is_root), max(u.roots)) + sum(u.due)) AS complete,
    countIf(u.is_job) AS jobs,
    countIf(u.is_job AND isNull(u.ended_at)) AS open_jobs,
    countIf(u.state IN ('failed', 'lost', 'expired', 'rejected')) AS failed_jobs,
    sum(u.attempts) AS attempts,
    if(complete, (toUnixTimestamp64Nano(max(u.ended_at)) - toUnixTimestamp64Nano(least(min(u.enqueued_at), started_at))) / 1e9, NULL) AS wall_seconds,
    sum(u.queue_seconds) AS queue_seconds,
    sum(u.run_seconds) AS run_seconds,
    toDate(minIf(u.hour, u.is_job)) AS day,
    -- The clock alone may change it: a run may be lost, a wait may expire.
    max(u.state = 'running' OR (isNull(u.ended_at) AND isNotNull(u.expires_at))) AS pending
FROM
(
    SELECT workflow_id, 1 AS is_job, parent_id = '' AS is_root, job_id AS id, workflow_type AS type, trigger, trigger_name, enqueued_at,
        workflow_started_at AS root_at, ended_at, state, attempts, queue_seconds, run_seconds, roots, 0 AS due,
        toUInt64(NOT earlier_settled) AS unsettled, hour, expires_at
    FROM {jobs} WHERE is_last
    UNION ALL
    SELECT workflow_id, 0, 0, '', '', '', '', NULL, NULL, NULL, '', 0, NULL, NULL, 0, sum(greatest(told, children)),
        countIf(children > 0 AND settled = 0), toDateTime(0, 'UTC'), NULL
    FROM
    (
        SELECT workflow_id, node.1 AS id, sum(node.2) AS told, sum(node.3) AS children, max(node.4) AS settled
        FROM
        (
            SELECT workflow_id,
                arrayJoin(arrayConcat(
                    [(sipHash128(toString(job_type), job_id, last_attempt), if(isNull(own_ended_at), 0, own_dispatched), 0, isNotNull(own_ended_at))],
                    if(redelivered = 1 AND last_attempt > 1, [(sipHash128(toString(job_type), job_id, toUInt16(last_attempt - 1)), 0, 0, 1)], []),
                    if(is_last AND parent_id != '', [(sipHash128(toString(parent_type), parent_id, parent_attempt), 0, 1, 0)], [])
                )::Array(Tuple(FixedString(16), UInt32, UInt32, UInt8))) AS node
            FROM {jobs}
        )
        GROUP BY workflow_id, id
    )
    GROUP BY workflow_id
) AS u
GROUP BY workflow_id
