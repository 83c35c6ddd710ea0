-- One job, one row: a job whose spans disagree on when it was enqueued is brought together under one key. The enqueue
-- time is in the key of `attempt_states`, so that filters on it prune and nothing is joined. A message that is
-- published again under its old id (a chain's next step, by two deliveries of the step before) says another one, and a
-- job without any has the hour of its start, which two reports may put on two sides of a full hour. So whenever spans
-- of a workflow arrived, its jobs are looked at in the background: what is under later keys is written once more under
-- the first one, and is hidden where it was (`pairing` = 3). Until then, half a minute at most, such a job is two rows.
-- Why right under duplicates and in any order: a row that is written again is merged like any other; what is hidden
-- stays stored, and is written again when more of it arrives; and a key only ever gives way to an earlier one.

-- Besides, for each further attempt that dispatched the job, a note of it (see attempt_states): what attempts say they
-- dispatched is that many more than there are jobs.
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.one_row_mv
REFRESH EVERY 30 SECOND APPEND TO {database}.attempt_states
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    toDateTime64(0, 9, 'UTC') AS never,
    toDateTime64('2261-01-01 00:00:00', 9, 'UTC') AS far,
    (SELECT settled FROM {database}.workflow_progress) AS made_through,
    (SELECT greatest(max(arrived), made_through) FROM
        (SELECT arrived FROM {database}.workflow_marks WHERE arrived > made_through ORDER BY arrived LIMIT 100000))
            AS bound,
    next_workflows AS ({include dirty_workflows until=bound}),
    (SELECT groupArray((hour, id)) FROM (SELECT arrayJoin(hours) AS hour, cityHash64(workflow_id) AS id
        FROM next_workflows)) AS next_pairs,
    -- Those under more than one key, and where they are: most often none.
    (
        SELECT (groupArray((workflow_id, system, queue, job_id)),
            groupUniqArrayArray(arrayMap(h -> (h, cityHash64(workflow_id)), hours)))
        FROM
        (
            SELECT workflow_id, system, queue, job_id, groupUniqArray(hour) AS hours
            FROM
            (
                SELECT hour, workflow_id, toString(system) AS system, toString(queue) AS queue, job_id,
                    cityHash64(hour, job_type, ifNull(toUnixTimestamp64Nano(enqueued_at), 0)) AS its_key
                FROM {database}.attempt_states
                WHERE (hour, cityHash64(workflow_id)) IN (SELECT arrayJoin(next_pairs))
                    AND attempt > 0 AND pairing IN (0, 3)
            )
            GROUP BY workflow_id, system, queue, job_id
            HAVING min(its_key) != max(its_key)
        )
    ) AS split,
    split_rows AS
    (
        SELECT *,
            max(if(is_first, parent, ('', '', toUInt16(0)))) OVER job AS first_parent,
            max(if(is_first, state.12, '')) OVER job AS first_producer
        FROM
        (
            SELECT *, argMinIf(key, place, attempt > 0) OVER same_job AS first_key, key = first_key AS is_first
            FROM
            (
                SELECT hour, toString(system) AS its_system, toString(queue) AS its_queue,
                    workflow_id, job_id, attempt, pairing,
                    ifNull(toUnixTimestamp64Nano(enqueued_at), 0) AS enqueued_ns,
                    (hour, toString(job_type), enqueued_ns) AS key,
                    -- A time comes first, then what stands for one that cannot be, then none.
                    (multiIf(enqueued_ns = 0, 2, enqueued_ns > 86400000000000, 0, 1), enqueued_ns,
                        hour, toString(job_type)) AS place,
                    (toString(parent_type), parent_id, parent_attempt) AS parent,
                    (published_at, due_at, expires_at, received_at, redelivered, max_attempts, started_at,
                        observed_started_at, alive, ending,
                        dispatch_trace_id, toString(producer), toString(producer_host),
                        toString(workflow_type), workflow_started_at, roots,
                        toString(trigger), toString(trigger_name), group_id, arraySort(label_pairs), retry_ready_at,
                        arraySort(broadcast_runs)) AS state
                FROM {database}.attempt_states FINAL
                WHERE (hour, cityHash64(workflow_id)) IN (SELECT arrayJoin(split.2))
                    AND (workflow_id, toString(system), toString(queue), job_id) IN (SELECT arrayJoin(split.1))
                    AND pairing IN (0, 3)
            )
            WINDOW same_job AS (PARTITION BY workflow_id, its_system, its_queue, job_id)
        )
        WINDOW job AS (PARTITION BY workflow_id, its_system, its_queue, job_id)
    )
SELECT key.1 AS hour, its_system AS system, its_queue AS queue, key.2 AS job_type,
    if(key.3 = 0, NULL, fromUnixTimestamp64Nano(key.3, 'UTC')) AS enqueued_at, workflow_id, job_id,
    attempt, state.1 AS published_at,
    state.2 AS due_at, state.3 AS expires_at, state.4 AS received_at, state.5 AS redelivered, state.6 AS max_attempts,
    state.7 AS started_at, state.8 AS observed_started_at, state.9 AS alive, state.10 AS ending,
    state.11 AS dispatch_trace_id,
    state.12 AS producer, state.13 AS producer_host, state.14 AS workflow_type,
    state.15 AS workflow_started_at, state.16 AS roots,
    state.17 AS trigger, state.18 AS trigger_name, state.19 AS group_id,
    state.20 AS label_pairs, state.21 AS retry_ready_at,
    state.22 AS broadcast_runs, parent.1 AS parent_type, parent.2 AS parent_id, parent.3 AS parent_attempt, pairing
FROM
(
    SELECT first_key AS key, its_system, its_queue, workflow_id, job_id, attempt,
        any(first_parent) AS parent, toUInt32(0) AS pairing,
        -- Attempt 1 was published when its job was first.
        (max(if(attempt = 1 AND NOT is_first AND toUnixTimestamp64Nano(state.1) = enqueued_ns, never, state.1)),
            max(state.2), max(state.3),
            max(state.4), max(state.5), max(state.6), min(state.7), min(state.8),
            max(state.9), max(state.10), max(state.11),
            any(first_producer), max(state.13), max(state.14), max(state.15), max(state.16),
            max(state.17), max(state.18), max(state.19),
            arraySort(groupUniqArrayArray(state.20)), max(state.21), arraySort(groupUniqArrayArray(state.22))) AS state
    FROM split_rows
    WHERE attempt > 0
    GROUP BY first_key, its_system, its_queue, workflow_id, job_id, attempt
    HAVING countIf(is_first) = 0 OR state != anyIf(split_rows.state, is_first)
    UNION ALL
    SELECT key, its_system, its_queue, workflow_id, job_id, attempt, parent, toUInt32(3), state
    FROM split_rows
    WHERE attempt > 0 AND NOT is_first AND pairing != 3
    UNION ALL
    SELECT argMinIf(key, place, attempt > 0) AS note_key, its_system, its_queue, workflow_id, job_id,
        toUInt16(0), parent, toUInt32(0),
        (never, never, never, never, toUInt8(0), toUInt16(0), far, far, (never, 0., '', '', '', '', '', '', ''),
            (toUInt8(0), never, '', '', '', toUInt8(0), toUInt32(0), '', '', '', '', '', '', 0.), '', '', '', '', never,
            toUInt32(0), '', '', '', [], never, [])
    FROM split_rows
    GROUP BY its_system, its_queue, workflow_id, job_id, parent
    HAVING parent.2 != '' AND countIf(attempt = 0) = 0 AND note_key != any(first_key)
)
SETTINGS max_insert_threads = 1, max_threads = 1;

-- What was stored before there was this: the workflows of such jobs are looked at anew.
INSERT INTO {database}.workflow_marks
SELECT toDate(hour) AS day, workflow_id, min(hour), max(hour), now64(3, 'UTC')
FROM {database}.attempt_states
WHERE workflow_id IN
(
    SELECT workflow_id FROM {database}.attempt_states WHERE attempt > 0 AND pairing IN (0, 3)
    GROUP BY workflow_id, system, queue, job_id
    HAVING min(cityHash64(hour, job_type, ifNull(toUnixTimestamp64Nano(enqueued_at), 0)))
        != max(cityHash64(hour, job_type, ifNull(toUnixTimestamp64Nano(enqueued_at), 0)))
)
GROUP BY day, workflow_id
SETTINGS max_bytes_ratio_before_external_group_by = 0.3, insert_deduplicate = 0, max_partitions_per_insert_block = 0;
