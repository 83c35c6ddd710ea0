-- Rows for `attempt_states` from all spans of the traces in {fresh}: attempts that are not stored so yet, and stored ones
-- that turn out to be under a wrong key, once more, as gone.
SELECT hour, system, queue, job_type, enqueued_at, workflow_id, job_id, attempt,
    row.1 AS published_at, row.2 AS due_at, row.3 AS started_at, row.4 AS observed_started_at, row.5 AS alive, row.6 AS ending, row.7 AS max_attempts,
    row.8 AS producer, row.9 AS producer_host, row.10 AS parent_id, row.11 AS parent_type, row.12 AS parent_attempt, if(is_right, row.13, 3) AS pairing
FROM
(
    SELECT hour, system, queue, job_type, enqueued_at, workflow_id, job_id, attempt,
        -- A job that tells of itself as ours do needs no pairing.
        max(is_new) AND NOT max(told_by_us) AS is_right,
        argMax(state, is_new) AS row
    FROM
    (
        SELECT *, max(is_new = 0 AND state.13 = 0) OVER (PARTITION BY workflow_id, job_id, if(length(job_id) < 16, system, '')) AS told_by_us
        FROM
        (
            SELECT hour, toString(system) AS system, toString(queue) AS queue, toString(job_type) AS job_type, enqueued_at, workflow_id, job_id, attempt,
                (published_at, due_at, started_at, observed_started_at, alive, ending, max_attempts, toString(producer), toString(producer_host), parent_id,
                    toString(parent_type), parent_attempt, pairing) AS state, 0 AS is_new
            FROM {database}.attempt_states FINAL
            WHERE workflow_id IN (SELECT workflow_id FROM {fresh})
            UNION ALL
            SELECT hour, toString(system), queue, job_type, enqueued_at, workflow_id, job_id, attempt,
                (published_at, due_at, started_at, observed_started_at, alive, ending, max_attempts, producer, producer_host, parent_id,
                    parent_type, parent_attempt, pairing), 1
            FROM ({include foreign_attempts fresh={fresh}})
            WHERE hour >= (SELECT jobs_taken_from FROM {database}.horizons)
        )
    )
    GROUP BY hour, system, queue, job_type, enqueued_at, workflow_id, job_id, attempt
    HAVING if(is_right, uniqExact(state) > 1 OR min(is_new), row.13 IN (1, 2))
)
