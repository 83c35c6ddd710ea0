-- The contract views: attempts, jobs, workflows. Views only: they hold nothing and are right whenever the states are.
-- Why fast: every filter on a key column (enqueued_at, system, queue, job_type, ids) reaches the states through the
-- windows, because it is the same for all rows of a window; and the windows read the states in the order they lie in.

-- Every known attempt, started, ended or still waiting, with what follows from its neighbours and from the clock.
CREATE OR REPLACE VIEW {database}.attempt_rows
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    (SELECT mapFromArrays(groupArray(service), groupArray(newest))
        FROM (SELECT service, max(newest) AS newest FROM {everywhere}.service_clock GROUP BY service)) AS clocks,
    toDateTime64('2261-01-01 00:00:00', 9, 'UTC') AS far,
    toDateTime64(0, 9, 'UTC') AS never,
    now64(9, 'UTC') AS moment,
    -- identity(): a tuple's element is otherwise read as a column of its own, which FINAL does not aggregate
    identity(s.ending) AS ending,
    identity(s.alive) AS alive,
    ending.source > 0 AS reported,
    alive.at > 0 AS beaconed,
    least(s.started_at, if(s.started_at = far, s.observed_started_at, far)) AS first_start,
    first_start < far AS has_started,
    max(if(has_started, s.attempt, 0)) OVER job AS last_started,
    max(reported) OVER job AS any_reported,
    -- When the job was first seen to start: an attempt whose own start nobody saw was gone by then.
    min(first_start) OVER job AS job_start,
    has_started AND NOT reported AND (last_started > s.attempt
        OR least(moment, clocks[alive.service]) >= alive.at + toIntervalNanosecond(toInt64(3e9 * alive.interval_seconds))) AS is_lost,
    s.expires_at > 0 AND moment > s.expires_at AND s.attempt = 1 AND last_started = 0 AND NOT any_reported AS is_expired
SELECT
    s.hour AS hour,
    s.system AS system,
    s.queue AS queue,
    s.job_type AS job_type,
    s.job_id AS job_id,
    s.workflow_id AS workflow_id,
    s.attempt AS attempt,
    multiIf(s.redelivered = 1, NULL, s.published_at > 0, s.published_at, s.attempt = 1, s.enqueued_at, NULL) AS published_at,
    if(isNull(published_at) OR s.pairing % 4 = 1, NULL, greatest(assumeNotNull(published_at), s.due_at)) AS ready_at,
    nullIf(s.received_at, never) AS received_at,
    if(has_started, first_start, NULL) AS started_at,
    multiIf(reported, ending.at, is_lost, alive.at, is_expired, s.expires_at, NULL) AS ended_at,
    if(reported AND ending.cpu_seconds >= 0, ending.cpu_seconds, NULL) AS cpu_seconds,
    (toUnixTimestamp64Nano(started_at) - toUnixTimestamp64Nano(ready_at)) / 1e9 AS wait,
    multiIf(isNull(wait), NULL, wait < 0, 0, wait) AS queue_seconds,
    (toUnixTimestamp64Nano(ended_at) - toUnixTimestamp64Nano(started_at)) / 1e9 AS run,
    multiIf(isNull(run), NULL, run < 0, 0, run) AS run_seconds,
    multiIf(reported, ending.outcome, is_lost, 'lost', is_expired, 'expired', has_started, 'running', '') AS outcome,
    if(reported, ending.error_type, '') AS error_type,
    s.enqueued_at AS enqueued_at,
    s.parent_id AS parent_id,
    if(reported, ending.worker, alive.worker) AS worker,
    if(reported, ending.host, alive.host) AS host,
    if(reported, ending.service, alive.service) AS service,
    if(reported, ending.release, alive.release) AS release,
    multiIf(reported AND ending.trace_id != '', ending.trace_id, reported, s.workflow_id,
        beaconed AND alive.trace_id != '', alive.trace_id, beaconed, s.workflow_id,
        s.dispatch_trace_id != '', s.dispatch_trace_id, s.workflow_id) AS trace_id,
    if(reported, ending.span_id, alive.span_id) AS span_id,
    s.parent_type AS parent_type,
    s.parent_attempt AS parent_attempt,
    nullIf(s.due_at, never) AS due_at,
    nullIf(s.expires_at, never) AS expires_at,
    s.max_attempts AS max_attempts,
    s.redelivered AS redelivered,
    if(reported, ending.dispatched, 0) AS dispatched,
    if(reported, ending.dead_letter, 0) AS dead_letter,
    multiIf(reported, ending.queue, beaconed, alive.queue, s.queue) AS attempt_queue,
    toUInt8(reported AND ending.source = 1) AS observed,
    if(s.parent_id = '', s.job_type, s.workflow_type) AS workflow_type,
    if(s.parent_id = '', s.enqueued_at, nullIf(s.workflow_started_at, never)) AS workflow_started_at,
    if(s.parent_id = '', s.trigger, 'job') AS trigger,
    if(s.parent_id = '', s.trigger_name, s.parent_type) AS trigger_name,
    s.roots AS roots,
    s.group_id AS group_id,
    s.producer AS producer,
    s.producer_host AS producer_host,
    s.label_pairs AS label_pairs,
    coalesce(started_at, ended_at, if(last_started > s.attempt, job_start, NULL)) AS left_at,
    -- The clock alone may change it: a run may be lost, a wait may expire.
    outcome = 'running' OR (outcome = '' AND s.expires_at > 0) AS pending,
    if(beaconed, alive.at, NULL) AS last_sign_at,
    -- A whole beacon is missing: its service went on sending for two intervals, and there is no report of an end.
    toUInt8(beaconed AND NOT reported
        AND least(moment, clocks[alive.service]) >= alive.at + toIntervalNanosecond(toInt64(2e9 * alive.interval_seconds))) AS overdue,
    -- Of the job: is this the row of its last attempt?
    s.attempt = max(s.attempt) OVER job AS is_last
FROM {database}.attempt_states AS s FINAL
WHERE s.hour >= (SELECT jobs_kept_from FROM {database}.horizons) AND s.pairing % 4 < 3
WINDOW job AS (PARTITION BY isNull(s.enqueued_at), s.hour, s.system, s.queue, s.job_type, s.enqueued_at, s.workflow_id, s.job_id);

CREATE OR REPLACE VIEW {database}.attempts
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT
    system, queue, job_type, job_id, workflow_id, attempt, published_at, ready_at, received_at, started_at, ended_at,
    cpu_seconds, queue_seconds, run_seconds, outcome, error_type, enqueued_at, parent_id, worker, host, service, release,
    trace_id, span_id, parent_type, due_at, max_attempts, redelivered, dispatched, dead_letter, attempt_queue, observed,
    workflow_type, trigger, trigger_name, group_id, producer
FROM {database}.attempt_rows
WHERE started_at IS NOT NULL OR ended_at IS NOT NULL;

-- Jobs, and what the completion of their workflow needs to know of them: the row of the last attempt, with what the
-- others add.
CREATE OR REPLACE VIEW {database}.job_rows
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    now64(9, 'UTC') AS moment,
    argMin(tuple(multiIf(r.attempt = 1, r.ready_at,
        -- Delivered a second time, it is still the first publication.
        r.redelivered = 1 AND r.attempt = 2 AND isNotNull(r.enqueued_at), greatest(assumeNotNull(r.enqueued_at), ifNull(r.due_at, assumeNotNull(r.enqueued_at))),
        NULL)), r.attempt) OVER job AS first_publication,
    argMin((r.started_at, r.queue_seconds), if(isNull(r.started_at), 100000, r.attempt)) OVER job AS first_start,
    -- Attempts below the last one that have ended, or that a redelivery followed: all of them?
    uniqExactIf(toUInt32(r.attempt), isNotNull(r.ended_at)) OVER job AS ended_attempts,
    max(r.redelivered) OVER job AS any_redelivered,
    if(any_redelivered = 0, ended_attempts - isNotNull(r.ended_at) = r.attempt - 1,
        length(arrayDistinct(arrayConcat(
            groupArrayIf(toUInt32(r.attempt), isNotNull(r.ended_at)) OVER job,
            groupArrayIf(toUInt32(r.attempt - 1), r.redelivered = 1 AND r.attempt > 1) OVER job,
            [toUInt32(r.attempt)]))) = r.attempt) AS settled
SELECT
    r.hour AS hour,
    r.system AS system,
    r.queue AS queue,
    r.job_type AS job_type,
    r.job_id AS job_id,
    argMax(r.trace_id, (r.outcome != '', r.attempt)) OVER job AS trace_id,
    r.workflow_id AS workflow_id,
    max(r.workflow_type) OVER job AS workflow_type,
    max(r.parent_id) OVER job AS parent_id,
    max(r.parent_type) OVER job AS parent_type,
    max(r.trigger) OVER job AS trigger,
    max(r.trigger_name) OVER job AS trigger_name,
    r.enqueued_at AS enqueued_at,
    first_publication.1 AS ready_at,
    first_start.1 AS started_at,
    if(r.outcome IN ('', 'running', 'retry'), NULL, r.ended_at) AS ended_at,
    multiIf(r.outcome = 'success', 'succeeded', r.outcome = 'failure', 'failed', r.outcome = 'retry', 'retrying', r.outcome != '', r.outcome,
        first_publication.1 > moment, 'scheduled', 'waiting') AS state,
    countIf(isNotNull(r.started_at)) OVER job AS attempts,
    (toUnixTimestamp64Nano(first_publication.1) - toUnixTimestamp64Nano(r.enqueued_at)) / 1e9 AS delay_seconds,
    first_start.2 AS queue_seconds,
    sumOrNullIf(r.run_seconds, isNotNull(r.ended_at)) OVER job AS run_seconds,
    r.error_type AS error_type,
    r.dead_letter AS dead_letter,
    r.worker AS worker,
    r.service AS service,
    r.release AS release,
    max(r.producer) OVER job AS producer,
    max(r.group_id) OVER job AS group_id,
    sumIf(r.dispatched, isNotNull(r.ended_at)) OVER job AS dispatched,
    CAST(arraySort(groupUniqArrayArray(r.label_pairs) OVER job), 'Map(String, String)') AS labels,
    max(r.parent_attempt) OVER job AS parent_attempt,
    max(r.workflow_started_at) OVER job AS workflow_started_at,
    max(r.expires_at) OVER job AS expires_at,
    max(r.max_attempts) OVER job AS max_attempts,
    max(r.roots) OVER job AS roots,
    r.attempt AS last_attempt,
    settled AS earlier_settled,
    r.pending AS pending,
    r.is_last AS is_last,
    -- Of the attempt of this row:
    r.started_at AS own_started_at,
    r.ended_at AS own_ended_at,
    r.dispatched AS own_dispatched,
    r.redelivered AS redelivered
FROM {database}.attempt_rows AS r
WINDOW job AS (PARTITION BY isNull(r.enqueued_at), r.hour, r.system, r.queue, r.job_type, r.enqueued_at, r.workflow_id, r.job_id);

CREATE OR REPLACE VIEW {database}.jobs
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT
    system, queue, job_type, job_id, trace_id, workflow_id, workflow_type, parent_id, parent_type, trigger, trigger_name,
    enqueued_at, ready_at, started_at, ended_at, state, attempts, delay_seconds, queue_seconds, run_seconds, error_type,
    dead_letter, worker, service, release, producer, group_id, dispatched, labels, parent_attempt, workflow_started_at,
    expires_at, max_attempts
FROM {database}.job_rows WHERE is_last;
