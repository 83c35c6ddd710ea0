-- The row of every workflow of the jobs in {jobs}, which has all rows of a workflow or none.
-- Complete is exact, without a grace period: (a) no known job is open, where a job is also known from a child that
-- names it; (b) every attempt below a job's last one has ended or was redelivered; (c) ended jobs = roots + what the
-- attempts say they dispatched, or more where more children are seen. A node is an attempt of a job. Nothing is joined:
-- one look at the states, so that what arrives meanwhile is in all of it or in none. And only nodes that dispatched are
-- kept apart (`unsaid`: children seen beyond those told), so that a million jobs of one parent are a few numbers;
-- whether all nodes that children name have ended is seen from the count: they add nothing to those that have.
SELECT
    workflow_id,
    workflow_id AS trace_id,
    argMinIf(j.workflow_type, (isNull(j.workflow_started_at), j.workflow_started_at, j.workflow_type), j.is_last)
        AS workflow_type,
    argMinIf(j.trigger, (isNull(j.enqueued_at), j.enqueued_at, j.job_id), j.is_last AND j.parent_id = '') AS trigger,
    argMinIf(j.trigger_name, (isNull(j.enqueued_at), j.enqueued_at, j.job_id), j.is_last AND j.parent_id = '')
        AS trigger_name,
    minIf(j.workflow_started_at, j.is_last) AS started_at,
    if(complete, maxIf(j.ended_at, j.is_last), NULL) AS ended_at,
    sumMap(mapFromArrays(arrayConcat(j.told_by, j.named),
        arrayConcat(arrayMap(x -> -toInt64(j.own_dispatched), j.told_by), arrayMap(x -> toInt64(1), j.named))))
        AS unsaid,
    (open_jobs = 0 AND jobs > 0 AND countIf(j.is_last AND NOT j.earlier_settled) = 0
        AND uniqExactArray(arrayConcat(j.ended, j.named)) = uniqExactArray(j.ended)
        AND jobs + countIf(j.last_attempt = 0 AND j.parent_id != '') = greatest(countIf(j.is_last AND j.parent_id = ''),
            if(countIf(j.node = 0) > 0, maxIf(j.roots, j.node = 0), max(j.roots)))
            + sumIf(j.own_dispatched, notEmpty(j.told_by)) + arraySum(arrayFilter(x -> x > 0, mapValues(unsaid))))
                AS complete,
    countIf(j.is_last) AS jobs,
    countIf(j.is_last AND isNull(j.ended_at)) AS open_jobs,
    countIf(j.is_last AND j.state IN ('failed', 'lost', 'expired', 'rejected')) AS failed_jobs,
    sumIf(j.attempts, j.is_last) AS attempts,
    (toUnixTimestamp64Nano(maxIf(j.ended_at, j.is_last))
        - toUnixTimestamp64Nano(least(minIf(j.enqueued_at, j.is_last AND j.enqueued_at > toDateTime64(86400, 9, 'UTC')),
        started_at))) / 1e9 AS wall,
    multiIf(NOT complete OR isNull(wall), NULL, wall < 0, 0, wall) AS wall_seconds,
    sumIf(j.queue_seconds, j.is_last) AS queue_seconds,
    sumIf(j.run_seconds, j.is_last) AS run_seconds,
    toDate(min(j.hour)) AS day,
    max(j.pending) AS pending
FROM
(
    SELECT *,
        -- 0: a composite
        if(last_attempt = 0 AND job_id = '', 0, sipHash64(toString(job_type), job_id, last_attempt)) AS node,
        if(isNull(own_ended_at), [], [node]) AS ended_itself,
        if(redelivered = 1 AND last_attempt > 1, arrayPushBack(ended_itself,
            sipHash64(toString(job_type), job_id, toUInt16(last_attempt - 1))), ended_itself) AS ended,
        if(own_dispatched > 0, ended_itself, []) AS told_by,
        if((is_last OR last_attempt = 0) AND parent_id != '',
            [sipHash64(toString(parent_type), parent_id, parent_attempt)], []) AS named
    FROM {jobs}
) AS j
GROUP BY workflow_id
HAVING jobs > 0
