-- The state of every attempt: one row each, fed by one materialized view; jobs and workflows are views over it.
-- Engine AggregatingMergeTree; key hour, system, queue, type, enqueue time, ids; one partition per day of the hour.
-- Retention: the layer `jobs`, by partition TTL.
-- Why right under duplicates and in any order: the key columns are repeated by every span of a job, and all else is a
-- minimum, a maximum or the maximum of a tuple, so a span may arrive again, later, or in another batch.
--   * Zero, '' and 0 stand for "not seen": every real value is larger.
--   * Jobs of un-instrumented producers have no enqueue time: NULL in the key, under the hour of their first start.
--   * What comes from outside is bounded where it comes in: text by 1,000 characters, numbers and times by what the
--     views can reckon with. Key times lie between 2020 and 2106, the hours the key can name; an earlier one is no time
--     of a job and becomes 1970-01-02, under which waits are unknown.
--   * A row for attempt 0 is a note, shown by no view, of what the completion of its workflow must know: of the span of
--     a composite, how many root jobs it published (`roots`); see also 008_one_row.sql.
--   * A span for a day whose jobs are gone makes no state: half a job would contradict the figures that were kept.
--   * The view does not group: rows of one key in an insert are merged when it is written.
--   * `ending` takes all end fields from one span: the report of the process that ran the attempt (2) before that of an
--     observer (1), then the latest end. Of a message that a broker hands to every worker (broadcast), a run that ended
--     badly goes before all others (4, and 3 of an observer).
--   * `broadcast_runs` has all runs of such a message, each as one text: nearly always empty, so one file and not many.

CREATE TABLE IF NOT EXISTS {database}.attempt_states
(
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    system LowCardinality(String),
    queue LowCardinality(String),
    job_type LowCardinality(String),
    enqueued_at Nullable(DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    workflow_id String CODEC(ZSTD(1)),
    job_id String CODEC(ZSTD(1)),
    attempt UInt16,
    published_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(1)),
    due_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(1)),
    expires_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(1)),
    received_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(1)),
    -- Of an attempt that ended as a retry: when the next one is ready. Nothing else tells of it before it starts.
    retry_ready_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    redelivered SimpleAggregateFunction(max, UInt8),
    max_attempts SimpleAggregateFunction(max, UInt16),
    started_at SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(1)),
    observed_started_at SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    alive SimpleAggregateFunction(max, Tuple(
        at DateTime64(9, 'UTC'), interval_seconds Float64, worker String, service String, release String, host String,
        trace_id String, span_id String, queue String)) CODEC(ZSTD(1)),
    ending SimpleAggregateFunction(max, Tuple(
        source UInt8, at DateTime64(9, 'UTC'), span_id String, outcome String, error_type String, dead_letter UInt8,
        dispatched UInt32, worker String, service String, release String, host String, trace_id String, queue String,
        cpu_seconds Float64)) CODEC(ZSTD(1)),
    dispatch_trace_id SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    producer SimpleAggregateFunction(max, LowCardinality(String)),
    producer_host SimpleAggregateFunction(max, LowCardinality(String)),
    parent_id SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    parent_type SimpleAggregateFunction(max, LowCardinality(String)),
    parent_attempt SimpleAggregateFunction(max, UInt16),
    workflow_type SimpleAggregateFunction(max, LowCardinality(String)),
    workflow_started_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    roots SimpleAggregateFunction(max, UInt32),
    trigger SimpleAggregateFunction(max, LowCardinality(String)),
    trigger_name SimpleAggregateFunction(max, LowCardinality(String)),
    group_id SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    -- Of other instrumentations (see 007_foreign.sql); 0: it is ours. Four times the number of spans it was made of,
    -- plus 1: when it was ready is not told, 2: it is, 3: the attempt is under another key.
    pairing SimpleAggregateFunction(max, UInt32) CODEC(T64, ZSTD(1)),
    broadcast_runs SimpleAggregateFunction(groupUniqArrayArray, Array(String)) CODEC(ZSTD(1)),
    label_pairs SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(String, String))) CODEC(ZSTD(1)),
    -- Prunes only where no NULL is among the values: rows without enqueue time have the end of the key for themselves.
    INDEX idx_enqueued enqueued_at TYPE minmax GRANULARITY 1,
    INDEX idx_job job_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_workflow workflow_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = AggregatingMergeTree
PARTITION BY toDate(hour)
-- Without a nullable column in the primary key, FINAL merges only where parts overlap.
PRIMARY KEY (isNull(enqueued_at), hour, system, queue, job_type, ifNull(toUnixTimestamp64Nano(enqueued_at), 0))
ORDER BY (isNull(enqueued_at), hour, system, queue, job_type, ifNull(toUnixTimestamp64Nano(enqueued_at), 0),
    enqueued_at, workflow_id, job_id, attempt)
SETTINGS non_replicated_deduplication_window = 1000, allow_nullable_key = 1, ttl_only_drop_parts = 1,
    -- A day that nothing arrives for any more becomes one part, where FINAL has nothing to merge.
    min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.attempt_states_mv TO {database}.attempt_states
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    SpanAttributes AS a,
    a['messaging.operation.type'] AS operation,
    toDateTime64(0, 9, 'UTC') AS never,
    toDateTime64('2261-01-01 00:00:00', 9, 'UTC') AS far,
    {include bounded_text} AS text,
    x -> fromUnixTimestamp64Nano(least(greatest(toInt64OrZero(a[x]), 0), toInt64(9183110400000000000)), 'UTC')
        AS moment,
    -- A time before 2020, as of a clock in seconds, is none.
    x -> if(moment(x) < toDateTime64('2020-01-01 00:00:00', 9, 'UTC'), never, moment(x)) AS past,
    toInt64OrZero(a['otjobs.job.enqueued_at']) AS enqueued,
    toInt64OrZero(a['otjobs.job.first_started_at']) AS first_start,
    toInt64(1577836800000000000) AS year_2020,
    ns -> if(ns < year_2020, toInt64(86400000000000), least(ns, toInt64(4291747200000000000))) AS key_ns,
    least(greatest(toUnixTimestamp64Nano(Timestamp), toInt64(86400000000000)), toInt64(4291747200000000000))
        AS start_ns,
    fromUnixTimestamp64Nano(start_ns, 'UTC') AS span_start,
    fromUnixTimestamp64Nano(start_ns + if(Duration > 315360000000000000, 0, toInt64(Duration)), 'UTC') AS span_end,
    toFloat64OrZero(a['otjobs.beacon.interval_seconds']) AS interval_said,
    toFloat64OrZero(a['otjobs.job.cpu_seconds']) AS cpu_said,
    operation = '' AND a['otjobs.job.type'] = '' AND a['messaging.message.id'] = ''
        AND isNotNull(toUInt32OrNull(a['otjobs.workflow.roots'])) AS is_composite,
    a['otjobs.job.outcome'] AS said,
    a['otjobs.job.observed'] = 'true' AS seen_by_other,
    a['otjobs.job.broadcast'] = 'true' AND operation = 'process' AS broadcast,
    broadcast AND said IN ('failure', 'lost', 'rejected', 'expired') AS spoils,
    operation = 'process' AND said IN ('expired', 'cancelled', 'rejected') AND span_end = span_start AS unstarted,
    text(if(a['otjobs.workflow.id'] != '', a['otjobs.workflow.id'], TraceId)) AS workflow
SELECT
    toStartOfHour(toDateTime(intDiv(multiIf(enqueued > 0, key_ns(enqueued), first_start >= year_2020,
        key_ns(first_start), key_ns(start_ns)), 1000000000), 'UTC')) AS hour,
    text(a['messaging.system']) AS system,
    text(if(a['otjobs.job.queue'] != '', a['otjobs.job.queue'], a['messaging.destination.name'])) AS queue,
    text(a['otjobs.job.type']) AS job_type,
    if(enqueued > 0,
        fromUnixTimestamp64Nano(key_ns(enqueued), 'UTC'),
        NULL) AS enqueued_at,
    workflow AS workflow_id,
    text(a['messaging.message.id']) AS job_id,
    toUInt16(if(is_composite, 0, least(greatest(toUInt32OrZero(a['otjobs.job.attempt']), 1), 65535))) AS attempt,
    past('otjobs.job.published_at') AS published_at,
    moment('otjobs.job.due_at') AS due_at,
    moment('otjobs.job.expires_at') AS expires_at,
    past('otjobs.job.received_at') AS received_at,
    past('otjobs.job.retry_ready_at') AS retry_ready_at,
    toUInt8(a['otjobs.job.redelivered'] = 'true') AS redelivered,
    toUInt16OrZero(a['otjobs.job.max_attempts']) AS max_attempts,
    if(operation IN ('send', '') OR unstarted OR (operation = 'process' AND seen_by_other), far, span_start)
        AS started_at,
    if(operation = 'process' AND seen_by_other AND NOT unstarted, span_start, far) AS observed_started_at,
    if(operation = 'receive',
        -- The next beacon is due within a day; of nonsense, within what is usual.
        (span_end, if(interval_said > 0 AND isFinite(interval_said), least(interval_said, 86400), 30),
            text(a['otjobs.worker']),
            text(toString(ServiceName)), text(ResourceAttributes['service.version']),
            text(ResourceAttributes['host.name']),
            if(TraceId = workflow, '', TraceId), ParentSpanId, text(a['messaging.destination.name'])),
        (never, 0., '', '', '', '', '', '', '')) AS alive,
    if(operation = 'process',
        (toUInt8(if(seen_by_other, 1, 2) + if(spoils, 2, 0)), span_end, SpanId, if(said = '', 'success', text(said)),
            text(a['error.type']),
            toUInt8(a['otjobs.job.dead_letter'] = 'true'), toUInt32OrZero(a['otjobs.job.dispatched']),
            text(a['otjobs.worker']), text(toString(ServiceName)), text(ResourceAttributes['service.version']),
            text(ResourceAttributes['host.name']), if(TraceId = workflow, '', TraceId),
            text(a['messaging.destination.name']),
            if(a['otjobs.job.cpu_seconds'] = '' OR NOT isFinite(cpu_said), -1, least(cpu_said, 315360000))),
        (toUInt8(0), never, '', '', '', toUInt8(0), toUInt32(0), '', '', '', '', '', '', 0.)) AS ending,
    if(operation = 'send' AND TraceId != workflow, TraceId, '') AS dispatch_trace_id,
    text(multiIf(operation = 'send', toString(ServiceName), a['otjobs.job.producer'] != '', a['otjobs.job.producer'],
        enqueued > 0, toString(ServiceName), '')) AS producer,
    text(if(operation = 'send', ResourceAttributes['host.name'], '')) AS producer_host,
    text(a['otjobs.job.parent.id']) AS parent_id,
    text(a['otjobs.job.parent.type']) AS parent_type,
    if(a['otjobs.job.parent.id'] = '', 0,
        toUInt16(least(greatest(toUInt32OrZero(a['otjobs.job.parent.attempt']), 1), 65535))) AS parent_attempt,
    text(a['otjobs.workflow.type']) AS workflow_type,
    past('otjobs.workflow.started_at') AS workflow_started_at,
    toUInt32OrZero(a['otjobs.workflow.roots']) AS roots,
    text(a['otjobs.trigger']) AS trigger,
    text(a['otjobs.trigger.name']) AS trigger_name,
    text(a['otjobs.group.id']) AS group_id,
    if(broadcast,
        [toString((text(a['otjobs.worker']), toUInt8(if(seen_by_other, 1, 2)), span_end, if(unstarted, far, span_start),
            if(said = '', 'success', text(said)),
            text(a['error.type']), text(toString(ServiceName)), text(ResourceAttributes['service.version']),
            text(ResourceAttributes['host.name']),
            if(TraceId = workflow, '', TraceId), SpanId, if(a['otjobs.job.cpu_seconds'] = '' OR NOT isFinite(cpu_said),
                -1, least(cpu_said, 315360000)),
            toUInt32OrZero(a['otjobs.job.dispatched']), toUInt8(a['otjobs.job.dead_letter'] = 'true'),
            past('otjobs.job.received_at')))],
        CAST([], 'Array(String)')) AS broadcast_runs,
    arrayMap(k -> (text(substring(k, 14)), text(a[k])),
        arraySlice(arraySort(arrayFilter(k -> startsWith(k, 'otjobs.label.') AND NOT is_composite, mapKeys(a))), 1,
            100)) AS label_pairs
FROM {database}.otel_traces
WHERE ((a['messaging.operation.type'] IN ('send', 'receive', 'process') AND a['otjobs.job.type'] != ''
    AND a['messaging.message.id'] != ''
        AND NOT (a['messaging.operation.type'] = 'send' AND StatusCode = 'Error')) OR is_composite)
    AND TraceId != '' AND hour >= (SELECT jobs_taken_from FROM {database}.horizons);

-- Engine AggregatingMergeTree; key service; no partitions; retention: for ever, a row a service.
-- The newest stored moment of every service: the clock that says whether a silent attempt is lost, so that a silent
-- pipeline makes nothing lost. A maximum: repeats change nothing. A moment more than a day ahead of us is no such
-- clock.
CREATE TABLE IF NOT EXISTS {database}.service_clock
(
    service String,
    newest SimpleAggregateFunction(max, DateTime64(9, 'UTC'))
)
ENGINE = AggregatingMergeTree
ORDER BY service
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.service_clock_mv TO {database}.service_clock
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    least(greatest(toUnixTimestamp64Nano(Timestamp), 0), toInt64(4291747200000000000))
        + if(Duration > 315360000000000000, 0, toInt64(Duration)) AS end_ns,
    {include bounded_text} AS text
SELECT text(toString(ServiceName)) AS service, max(fromUnixTimestamp64Nano(end_ns, 'UTC')) AS newest
FROM {database}.otel_traces
WHERE end_ns <= toUnixTimestamp64Nano(now64(9)) + 86400000000000
GROUP BY service;

-- What was stored before there were these tables.
-- backfill attempt_states_mv
-- backfill service_clock_mv
