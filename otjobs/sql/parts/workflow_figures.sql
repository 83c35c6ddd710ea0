-- The row of every workflow of the jobs in {jobs}, which has all rows of a workflow or none.
-- Complete is exact, without a grace period: (a) no known job is open, where a job is also known from a child that names
-- it; (b) every attempt below a job's last one has ended or was redelivered; (c) ended jobs = roots + what the attempts
-- say they dispatched, or more where more children are seen. A node is an attempt of a job; one row goes to it for the
-- attempt itself, for each child that names it, and for a redelivery that followed it, so that nothing is
-- joined: one look at the states, so that what arrives meanwhile is in all of it or in none.
SELECT
    workflow_id,
    workflow_id AS trace_id,
    argMinIf(j.workflow_type, (isNull(j.workflow_started_at), j.workflow_started_at, j.workflow_type), j.is_last) AS workflow_type,
    argMinIf(j.trigger, (isNull(j.enqueued_at), j.enqueued_at, j.job_id), j.is_last AND j.parent_id = '') AS trigger,
    argMinIf(j.trigger_name, (isNull(j.enqueued_at), j.enqueued_at, j.job_id), j.is_last AND j.parent_id = '') AS trigger_name,
    minIf(j.workflow_started_at, j.is_last) AS started_at,
    if(complete, maxIf(j.ended_at, j.is_last), NULL) AS ended_at,
    sumMap(j.nodes.1, j.nodes.2, j.nodes.3, j.nodes.4) AS node,
    (open_jobs = 0 AND jobs > 0 AND countIf(j.is_last AND NOT j.earlier_settled) = 0
        AND arrayCount((children, settled) -> children > 0 AND settled = 0, node.3, node.4) = 0
        AND jobs = greatest(countIf(j.is_last AND j.parent_id = ''), max(j.roots))
            + arraySum(arrayMap((told, children) -> greatest(told, children), node.2, node.3))) AS complete,
    countIf(j.is_last) AS jobs,
    countIf(j.is_last AND isNull(j.ended_at)) AS open_jobs,
    countIf(j.is_last AND j.state IN ('failed', 'lost', 'expired', 'rejected')) AS failed_jobs,
    sumIf(j.attempts, j.is_last) AS attempts,
    (toUnixTimestamp64Nano(maxIf(j.ended_at, j.is_last)) - toUnixTimestamp64Nano(least(minIf(j.enqueued_at, j.is_last), started_at))) / 1e9 AS wall,
    multiIf(NOT complete OR isNull(wall), NULL, wall < 0, 0, wall) AS wall_seconds,
    sumIf(j.queue_seconds, j.is_last) AS queue_seconds,
    sumIf(j.run_seconds, j.is_last) AS run_seconds,
    toDate(min(j.hour)) AS day,
    max(j.pending) AS pending
FROM
(
    SELECT *, arrayConcat(
        [(sipHash64(toString(job_type), job_id, last_attempt), if(isNull(own_ended_at), 0, own_dispatched), 0, isNotNull(own_ended_at))],
        if(redelivered = 1 AND last_attempt > 1, [(sipHash64(toString(job_type), job_id, toUInt16(last_attempt - 1)), 0, 0, 1)], []),
        if(is_last AND parent_id != '', [(sipHash64(toString(parent_type), parent_id, parent_attempt), 0, 1, 0)], [])
        )::Array(Tuple(UInt64, UInt64, UInt64, UInt64)) AS nodes
    FROM {jobs}
) AS j
GROUP BY workflow_id
