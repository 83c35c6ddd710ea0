-- Rows for `attempt_states` from all spans of the traces in {fresh}: attempts that are not stored so yet, and stored
-- ones that turn out to be under a wrong key, once more, as gone. `pairing` says how many spans of the trace that was
-- made of: who saw more is right, for an insert may not see another one of the same moment.
SELECT key.1 AS hour, key.2 AS system, key.3 AS queue, key.4 AS job_type, key.5 AS enqueued_at,
    key.6 AS workflow_id, key.7 AS job_id,
    key.8 AS attempt, row.1 AS published_at, row.2 AS due_at, row.3 AS started_at, row.4 AS observed_started_at,
    row.5 AS alive, row.6 AS ending,
    row.7 AS max_attempts, row.8 AS producer, row.9 AS producer_host, row.10 AS parent_id,
    row.11 AS parent_type, row.12 AS parent_attempt,
    if(is_right, paired, gone) AS pairing
FROM
(
    SELECT key,
        -- A job that tells of itself as ours do needs no pairing.
        if(max(told_by_us), 0, max(is_new)) AS is_right,
        argMax(state, is_new) AS row,
        uniqExact(state) > 1 AS differs,
        maxIf(pairing, is_new) AS paired,
        maxIf(pairing, NOT is_new) AS stored,
        max(if_gone) AS gone
    FROM
    (
        SELECT *,
            max(is_ours) OVER (PARTITION BY key.6, key.7, if(length(key.7) < 16, key.2, '')) AS told_by_us,
            bitOr(maxIf(pairing, is_new) OVER (PARTITION BY key.6), 3) AS if_gone
        FROM
        (
            SELECT (hour, toString(system), toString(queue), toString(job_type), enqueued_at,
                workflow_id, job_id, attempt) AS key,
                (published_at, due_at, started_at, observed_started_at, alive, ending, max_attempts, toString(producer),
                    toString(producer_host), parent_id,
                    toString(parent_type), parent_attempt) AS state, pairing, 0 AS is_new, pairing = 0 AS is_ours
            FROM {database}.attempt_states FINAL
            WHERE workflow_id IN (SELECT workflow_id FROM {fresh})
            UNION ALL
            SELECT (hour, toString(system), queue, job_type, enqueued_at, workflow_id, job_id, attempt),
                (published_at, due_at, started_at, observed_started_at, alive, ending, max_attempts,
                    producer, producer_host, parent_id,
                    parent_type, parent_attempt), pairing, 1, 0
            FROM ({include foreign_attempts fresh={fresh}})
            WHERE hour >= (SELECT jobs_taken_from FROM {database}.horizons)
        )
    )
    GROUP BY key
)
WHERE multiIf(
    NOT is_right, if(stored % 4 IN (1, 2), gone > stored, 0),
    stored = 0, 1,
    differs, 1,
    stored % 4 != paired % 4, paired > stored,
    0)
