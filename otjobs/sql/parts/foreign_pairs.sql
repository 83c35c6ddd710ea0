-- Rows for `attempt_states` from all spans of the traces in {fresh}: attempts that are not stored so yet, and stored ones
-- that turn out to be under a wrong key, once more, as gone. `pairing` says how many spans of the trace that was made of:
-- who saw more is right, for an insert may not see another one of the same moment.
SELECT hour, system, queue, job_type, enqueued_at, workflow_id, job_id, attempt,
    row.1 AS published_at, row.2 AS due_at, row.3 AS started_at, row.4 AS observed_started_at, row.5 AS alive, row.6 AS ending, row.7 AS max_attempts,
    row.8 AS producer, row.9 AS producer_host, row.10 AS parent_id, row.11 AS parent_type, row.12 AS parent_attempt,
    if(is_right, paired, gone) AS pairing
FROM
(
    SELECT hour, system, queue, job_type, enqueued_at, workflow_id, job_id, attempt,
        -- A job that tells of itself as ours do needs no pairing.
        max(is_new) AND NOT max(told_by_us) AS is_right,
        argMax(state, is_new) AS row,
        uniqExact(state) > 1 AS differs,
        maxIf(pairing, is_new) AS paired,
        maxIf(pairing, NOT is_new) AS stored,
        max(if_gone) AS gone
    FROM
    (
        SELECT *,
            max(NOT is_new AND pairing = 0) OVER (PARTITION BY workflow_id, job_id, if(length(job_id) < 16, system, '')) AS told_by_us,
            bitOr(maxIf(pairing, is_new) OVER (PARTITION BY workflow_id), 3) AS if_gone
        FROM
        (
            SELECT hour, toString(system) AS system, toString(queue) AS queue, toString(job_type) AS job_type, enqueued_at, workflow_id, job_id, attempt,
                (published_at, due_at, started_at, observed_started_at, alive, ending, max_attempts, toString(producer), toString(producer_host), parent_id,
                    toString(parent_type), parent_attempt) AS state, pairing, 0 AS is_new
            FROM {database}.attempt_states FINAL
            WHERE workflow_id IN (SELECT workflow_id FROM {fresh})
            UNION ALL
            SELECT hour, toString(system), queue, job_type, enqueued_at, workflow_id, job_id, attempt,
                (published_at, due_at, started_at, observed_started_at, alive, ending, max_attempts, producer, producer_host, parent_id,
                    parent_type, parent_attempt), pairing, 1
            FROM ({include foreign_attempts fresh={fresh}})
            WHERE hour >= (SELECT jobs_taken_from FROM {database}.horizons)
        )
    )
    GROUP BY hour, system, queue, job_type, enqueued_at, workflow_id, job_id, attempt
)
WHERE if(is_right, stored = 0 OR differs OR (stored % 4 != paired % 4 AND paired > stored), stored > 0 AND stored % 4 < 3 AND gone > stored)
