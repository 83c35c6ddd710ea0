-- The contract views: attempts, jobs, workflows. Views only: they hold nothing and are right whenever the states are.
-- Why fast: every filter on a key column (enqueued_at, system, queue, job_type, ids) reaches the states through the
-- window, because it is the same for all rows of a job; each view reads only the columns that are asked for; and the
-- one window, over all attempts of a job, carries columns that are narrow already.

-- Every known attempt, started, ended or still waiting, and what must be known of the others of its job.
CREATE OR REPLACE VIEW {database}.attempt_facts
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT
    *,
    -- Of the job: twice the number of the last attempt that started, plus 1 if that one may still run; 1 if none
    -- started and an end was reported; 0 if nothing but publications is known.
    max(multiIf(has_started, 2 * toUInt32(attempt) + (NOT reported AND NOT silent), toUInt32(reported))) OVER job
        AS newest,
    max(attempt) OVER job AS last_attempt,
    -- When the job was first seen to start: an attempt whose own start nobody saw was gone by then.
    min(first_start) OVER job AS job_start,
    argMin(multiIf(attempt = 1, ifNull(ready_at, never),
        -- Delivered a second time, it is still the first publication.
        redelivered = 1 AND attempt = 2 AND enqueued_at > early,
        greatest(assumeNotNull(enqueued_at), ifNull(due_at, never)),
        never), attempt) OVER job AS first_publication,
    -- Of the first attempt that started.
    argMin(first_start, start_order) OVER job AS job_started,
    argMin(ifNull(ready_at, never), start_order) OVER job AS job_ready,
    countIf(has_started) OVER job AS starts,
    countIf(has_started OR reported) OVER job AS starts_or_ends,
    countIf(expired) OVER job AS first_expired,
    sumIf(signed_seconds, has_started AND (reported OR silent)) OVER job AS settled_seconds,
    sumIf(signed_seconds, has_started AND NOT (reported OR silent)) OVER job AS unsettled_seconds,
    argMax(signed_seconds, if(has_started, attempt, 0)) OVER job AS newest_seconds,
    max(redelivered) OVER job AS job_redelivered,
    groupArrayIf(toUInt32(attempt), has_started OR reported) OVER job AS known_attempts,
    groupArrayIf(toUInt32(attempt - 1), redelivered = 1 AND attempt > 1) OVER job AS redelivered_attempts,
    argMax(trace_id, if(has_started OR reported OR expired, 65536, 0) + attempt) OVER job AS job_trace_id,
    max(workflow_type) OVER job AS job_workflow_type,
    max(parent_id) OVER job AS job_parent_id,
    max(parent_type) OVER job AS job_parent_type,
    max(trigger) OVER job AS job_trigger,
    max(trigger_name) OVER job AS job_trigger_name,
    max(producer) OVER job AS job_producer,
    max(group_id) OVER job AS job_group_id,
    sum(dispatched) OVER job AS job_dispatched,
    groupUniqArrayArray(label_pairs) OVER job AS job_label_pairs,
    max(parent_attempt) OVER job AS job_parent_attempt,
    max(workflow_started_at) OVER job AS job_workflow_started_at,
    max(expires_at) OVER job AS job_expires_at,
    max(max_attempts) OVER job AS job_max_attempts,
    max(roots) OVER job AS job_roots
FROM
(
    WITH
        (SELECT mapFromArrays(groupArray(service), groupArray(newest))
            FROM (SELECT service, max(newest) AS newest FROM {everywhere}.service_clock GROUP BY service)) AS clocks,
        now64(9, 'UTC') AS moment,
        -- identity(): a tuple's element is otherwise read as a column of its own, which FINAL does not aggregate
        identity(s.ending) AS ending,
        identity(s.alive) AS alive
    SELECT
        toDateTime64('2261-01-01 00:00:00', 9, 'UTC') AS far,
        toDateTime64(0, 9, 'UTC') AS never,
        -- What stands for an enqueue time that was none (see attempt_states).
        toDateTime64(86400, 9, 'UTC') AS early,
        s.hour AS hour,
        s.system AS system,
        s.queue AS queue,
        s.job_type AS job_type,
        s.enqueued_at AS enqueued_at,
        s.workflow_id AS workflow_id,
        s.job_id AS job_id,
        s.attempt AS attempt,
        multiIf(s.redelivered = 1, NULL, s.published_at > 0, s.published_at, s.attempt = 1 AND s.enqueued_at > early,
            s.enqueued_at, NULL) AS published_at,
        if(isNull(published_at) OR s.pairing % 4 = 1, NULL, greatest(assumeNotNull(published_at), s.due_at))
            AS ready_at,
        -- Of another instrumentation, when it was ready is not told; until it starts, it counts from its publication.
        if(isNull(published_at), NULL, greatest(assumeNotNull(published_at), s.due_at)) AS published_or_due_at,
        -- A publication that may never be brought together with its run: until when it counts as waiting. (The stock
        -- Celery and TaskIQ instrumentations always say which publication a run came from.)
        if(s.pairing = 0 OR s.system IN ('celery', 'taskiq') OR isNull(published_or_due_at), far,
            assumeNotNull(published_or_due_at) + toIntervalHour(if(s.system = 'bullmq', 24, 1))) AS waits_until,
        nullIf(s.retry_ready_at, never) AS retry_ready_at,
        nullIf(s.received_at, never) AS received_at,
        least(s.started_at, if(s.started_at = far, s.observed_started_at, far)) AS first_start,
        first_start < far AS has_started,
        if(has_started, s.attempt, 100000) AS start_order,
        ending.source > 0 AS reported,
        alive.at > 0 AS beaconed,
        if(reported, ending.at, alive.at) AS signed_at,
        greatest((toUnixTimestamp64Nano(signed_at) - toUnixTimestamp64Nano(first_start)) / 1e9, 0) AS signed_seconds,
        least(moment, clocks[alive.service]) AS clock,
        -- Missed three beacons: lost, if it has not ended.
        clock >= alive.at + toIntervalNanosecond(toInt64(3e9 * alive.interval_seconds)) AS silent,
        -- A whole beacon is missing: its service went on sending for two intervals, and there is no report of an end.
        toUInt8(beaconed AND NOT reported AND clock >= alive.at
            + toIntervalNanosecond(toInt64(2e9 * alive.interval_seconds))) AS overdue,
        if(beaconed, alive.at, NULL) AS last_sign_at,
        s.attempt = 1 AND s.expires_at > 0 AND moment > s.expires_at AS expired,
        if(reported AND ending.cpu_seconds >= 0, ending.cpu_seconds, NULL) AS cpu_seconds,
        if(reported, ending.outcome, '') AS reported_outcome,
        if(reported, ending.error_type, '') AS error_type,
        if(reported, ending.worker, alive.worker) AS worker,
        if(reported, ending.host, alive.host) AS host,
        if(reported, ending.service, alive.service) AS service,
        if(reported, ending.release, alive.release) AS release,
        multiIf(reported AND ending.trace_id != '', ending.trace_id, reported, s.workflow_id,
            beaconed AND alive.trace_id != '', alive.trace_id, beaconed, s.workflow_id,
            s.dispatch_trace_id != '', s.dispatch_trace_id, s.workflow_id) AS trace_id,
        if(reported, ending.span_id, alive.span_id) AS span_id,
        if(reported, ending.dispatched, 0) AS dispatched,
        if(reported, ending.dead_letter, 0) AS dead_letter,
        multiIf(reported, ending.queue, beaconed, alive.queue, s.queue) AS attempt_queue,
        toUInt8(reported AND ending.source % 2 = 1) AS observed,
        s.parent_id AS parent_id,
        s.parent_type AS parent_type,
        s.parent_attempt AS parent_attempt,
        nullIf(s.due_at, never) AS due_at,
        nullIf(s.expires_at, never) AS expires_at,
        s.max_attempts AS max_attempts,
        s.redelivered AS redelivered,
        if(s.parent_id = '', s.job_type, s.workflow_type) AS workflow_type,
        nullIf(if(s.parent_id = '', if(s.enqueued_at > early, s.enqueued_at, NULL), s.workflow_started_at), never)
            AS workflow_started_at,
        if(s.parent_id = '', s.trigger, 'job') AS trigger,
        if(s.parent_id = '', s.trigger_name, s.parent_type) AS trigger_name,
        s.roots AS roots,
        s.group_id AS group_id,
        s.producer AS producer,
        s.producer_host AS producer_host,
        s.broadcast_runs AS broadcast_runs,
        s.label_pairs AS label_pairs
    FROM {database}.attempt_states AS s FINAL
    WHERE s.hour >= (SELECT jobs_kept_from FROM {database}.horizons) AND s.pairing % 4 < 3
)
WINDOW job AS (PARTITION BY hour, system, queue, job_type, enqueued_at, workflow_id, job_id)
-- Filters on key columns are the same for all rows that FINAL merges, and the server moves no others before it.
SETTINGS optimize_move_to_prewhere_if_final = 1;

-- The same with what follows from the neighbours and from the clock.
CREATE OR REPLACE VIEW {database}.attempt_rows
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    has_started AND NOT reported AND newest != 2 * toUInt32(attempt) + 1 AS is_lost,
    expired AND newest = 0 AS is_expired
SELECT
    * EXCEPT (far, never, early, start_order, beaconed, signed_at, signed_seconds, clock, silent),
    if(has_started, first_start, NULL) AS started_at,
    multiIf(reported OR is_lost, signed_at, is_expired, expires_at, NULL) AS ended_at,
    (toUnixTimestamp64Nano(started_at) - toUnixTimestamp64Nano(ready_at)) / 1e9 AS wait,
    multiIf(isNull(wait), NULL, wait < 0, 0, wait) AS queue_seconds,
    if(has_started AND (reported OR is_lost), signed_seconds, NULL) AS run_seconds,
    multiIf(reported, reported_outcome, is_lost, 'lost', is_expired, 'expired', has_started, 'running', '') AS outcome,
    coalesce(started_at, ended_at, if(intDiv(newest, 2) > attempt, job_start, NULL), nullIf(waits_until, far))
        AS left_at,
    -- Since when this attempt waits, or waited until it left.
    if(outcome = '', published_or_due_at, ready_at) AS waits_from,
    -- Since when the attempt after this one waits, of which there is no span before it starts.
    if(attempt = last_attempt AND outcome = 'retry', retry_ready_at, NULL) AS next_waits_from,
    -- The clock alone may change it: a run may be lost, a wait may expire.
    outcome = 'running' OR (outcome = '' AND isNotNull(expires_at)) AS pending,
    -- Of the job: is this the row of its last attempt?
    attempt = last_attempt AND attempt > 0 AS is_last
FROM {database}.attempt_facts;

-- A row for each run: one an attempt, but of a message that a broker hands to every worker.
CREATE OR REPLACE VIEW {database}.attempts
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH run.2 > 0 AS several
SELECT
    system, queue, job_type, job_id, workflow_id, attempt, published_at, ready_at,
    if(several, nullIf(run.15, toDateTime64(0, 9, 'UTC')), r.received_at) AS received_at,
    if(several, if(run.4 < toDateTime64('2261-01-01 00:00:00', 9, 'UTC'), run.4, NULL), r.started_at) AS started_at,
    if(several, greatest(run.3, ifNull(started_at, run.3)), r.ended_at) AS ended_at,
    if(several, if(run.12 >= 0, run.12, NULL), r.cpu_seconds) AS cpu_seconds,
    if(several, greatest((toUnixTimestamp64Nano(started_at) - toUnixTimestamp64Nano(ready_at)) / 1e9, 0),
        r.queue_seconds) AS queue_seconds,
    if(several, (toUnixTimestamp64Nano(ended_at) - toUnixTimestamp64Nano(started_at)) / 1e9, r.run_seconds)
        AS run_seconds,
    if(several, run.5, r.outcome) AS outcome,
    if(several, run.6, r.error_type) AS error_type,
    enqueued_at, parent_id,
    if(several, run.1, r.worker) AS worker,
    if(several, run.9, r.host) AS host,
    if(several, run.7, r.service) AS service,
    if(several, run.8, r.release) AS release,
    multiIf(NOT several, r.trace_id, run.10 = '', workflow_id, run.10) AS trace_id,
    if(several, run.11, r.span_id) AS span_id,
    parent_type, due_at, max_attempts, redelivered,
    if(several, run.13, r.dispatched) AS dispatched,
    if(several, run.14, r.dead_letter) AS dead_letter,
    attempt_queue,
    if(several, toUInt8(run.2 = 1), r.observed) AS observed,
    workflow_type, trigger, trigger_name, group_id, producer
FROM (SELECT *, {include broadcast_runs} AS runs FROM {database}.attempt_rows
    WHERE started_at IS NOT NULL OR ended_at IS NOT NULL) AS r
LEFT ARRAY JOIN r.runs AS run;

-- Jobs, and what the completion of their workflow needs to know of them: the row of the last attempt, with what the
-- others add.
CREATE OR REPLACE VIEW {database}.job_rows
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    toDateTime64('2261-01-01 00:00:00', 9, 'UTC') AS far,
    toDateTime64(0, 9, 'UTC') AS never,
    -- The job's last start has not ended.
    r.newest > 1 AND r.newest % 2 = 1 AS runs,
    r.newest = 0 AND r.first_expired > 0 AS is_expired,
    nullIf(r.first_publication, never) AS job_ready_at,
    if(r.job_started = far OR r.job_ready = never, NULL,
        (toUnixTimestamp64Nano(r.job_started) - toUnixTimestamp64Nano(r.job_ready)) / 1e9) AS wait,
    -- Attempts below the last one that have ended, or that a redelivery followed: all of them?
    if(r.job_redelivered = 0, r.starts_or_ends - runs + is_expired - isNotNull(r.ended_at) = r.attempt - 1,
        length(arrayDistinct(arrayConcat(
            arrayFilter(x -> NOT (runs AND x = intDiv(r.newest, 2)), r.known_attempts),
            if(is_expired, [toUInt32(1)], []),
            r.redelivered_attempts,
            [toUInt32(r.attempt)]))) = r.attempt) AS settled
SELECT
    r.hour AS hour,
    r.system AS system,
    r.queue AS queue,
    r.job_type AS job_type,
    r.job_id AS job_id,
    r.job_trace_id AS trace_id,
    r.workflow_id AS workflow_id,
    r.job_workflow_type AS workflow_type,
    r.job_parent_id AS parent_id,
    r.job_parent_type AS parent_type,
    r.job_trigger AS trigger,
    r.job_trigger_name AS trigger_name,
    r.enqueued_at AS enqueued_at,
    job_ready_at AS ready_at,
    nullIf(r.job_started, far) AS started_at,
    if(r.outcome IN ('', 'running', 'retry'), NULL, r.ended_at) AS ended_at,
    multiIf(r.outcome = 'success', 'succeeded', r.outcome = 'failure', 'failed',
        -- In backoff, or nobody knows when it is due.
        r.outcome = 'retry', if(r.next_waits_from <= now64(9, 'UTC'), 'waiting', 'retrying'), r.outcome != '',
        r.outcome,
        job_ready_at > now64(9, 'UTC'), 'scheduled', r.waits_until <= now64(9, 'UTC'), 'unpaired', 'waiting') AS state,
    r.starts AS attempts,
    (toUnixTimestamp64Nano(job_ready_at) - toUnixTimestamp64Nano(r.enqueued_at)) / 1e9 AS delay_seconds,
    multiIf(isNull(wait), NULL, wait < 0, 0, wait) AS queue_seconds,
    if(r.starts = runs, NULL, r.settled_seconds + (r.unsettled_seconds - if(runs, r.newest_seconds, 0))) AS run_seconds,
    r.error_type AS error_type,
    r.dead_letter AS dead_letter,
    r.worker AS worker,
    r.service AS service,
    r.release AS release,
    r.job_producer AS producer,
    r.job_group_id AS group_id,
    r.job_dispatched AS dispatched,
    CAST(arraySort(r.job_label_pairs), 'Map(String, String)') AS labels,
    r.job_parent_attempt AS parent_attempt,
    r.job_workflow_started_at AS workflow_started_at,
    r.job_expires_at AS expires_at,
    r.job_max_attempts AS max_attempts,
    r.job_roots AS roots,
    r.attempt AS last_attempt,
    settled AS earlier_settled,
    r.pending AS pending,
    r.is_last AS is_last,
    if(state = 'waiting', if(r.outcome = 'retry', r.next_waits_from, r.waits_from), NULL) AS waiting_since,
    -- Of the attempt of this row:
    r.started_at AS own_started_at,
    r.ended_at AS own_ended_at,
    r.dispatched AS own_dispatched,
    r.redelivered AS redelivered
FROM {database}.attempt_rows AS r;

CREATE OR REPLACE VIEW {database}.jobs
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT
    system, queue, job_type, job_id, trace_id, workflow_id, workflow_type, parent_id,
    parent_type, trigger, trigger_name,
    enqueued_at, ready_at, started_at, ended_at, state, attempts, delay_seconds, queue_seconds, run_seconds, error_type,
    dead_letter, worker, service, release, producer, group_id, dispatched, labels, parent_attempt, workflow_started_at,
    expires_at, max_attempts
FROM {database}.job_rows WHERE is_last;
