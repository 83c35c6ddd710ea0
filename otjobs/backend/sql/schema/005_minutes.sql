-- Minutes: what happened in each, by queue and type.
-- A stored minute counts only while nothing can have changed it; the others are computed when they are read. So the
-- view is exact at any moment, with or without refresh, and its cost follows what arrived in the last minutes.
-- Why right under duplicates: a minute is always computed as a whole from the states, and its newest version counts.

-- When spans with an event in a minute last arrived, and the hours their jobs are in. Maxima: repeats change nothing.
-- Engine AggregatingMergeTree; key minute and hour; one partition a month; retention: the layer `minutes`.
CREATE TABLE IF NOT EXISTS {database}.minute_marks
(
    minute DateTime('UTC'),
    hour DateTime('UTC'),
    arrived SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, hour)
SETTINGS ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.minute_marks_mv TO {database}.minute_marks
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    toDateTime64('2106-01-01 00:00:00', 9, 'UTC') AS far,
    toDateTime64(0, 9, 'UTC') AS never,
    arrayFilter(x -> x > never AND x <= far, [ifNull(enqueued_at, never), published_at, due_at,
        retry_ready_at, expires_at, started_at,
        observed_started_at, alive.at, least(ending.at, far)]) AS moments
-- Also the minute that ends just there: who is ready at its very end waits in it.
SELECT arrayJoin(arrayDistinct(arrayFlatten(arrayMap(x -> [toStartOfMinute(toDateTime(x, 'UTC')),
    toStartOfMinute(toDateTime(x - toIntervalNanosecond(1), 'UTC'))], moments)))) AS minute,
        hour, now64(3, 'UTC') AS arrived
FROM {database}.attempt_states
GROUP BY minute, hour;

-- Publications that failed; a span each, so that one stored twice counts once.
-- Engine ReplacingMergeTree; key minute, system, queue, type, span; one partition a month; retention: layer `minutes`.
CREATE TABLE IF NOT EXISTS {database}.dispatch_failures
(
    minute DateTime('UTC'),
    system LowCardinality(String),
    queue LowCardinality(String),
    job_type LowCardinality(String),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    error_type LowCardinality(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, system, queue, job_type, trace_id, span_id)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.dispatch_failures_mv TO {database}.dispatch_failures
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH {include bounded_text} AS text
SELECT
    toStartOfMinute(toDateTime(least(greatest(Timestamp, toDateTime64(0, 9, 'UTC')),
        toDateTime64('2106-01-01 00:00:00', 9, 'UTC')), 'UTC')) AS minute,
    text(SpanAttributes['messaging.system']) AS system,
    text(SpanAttributes['messaging.destination.name']) AS queue,
    text(SpanAttributes['otjobs.job.type']) AS job_type,
    TraceId AS trace_id, SpanId AS span_id,
    text(SpanAttributes['error.type']) AS error_type
FROM {database}.otel_traces
WHERE StatusCode = 'Error' AND SpanAttributes['messaging.operation.type'] = 'send'
    AND SpanAttributes['otjobs.job.type'] != '';

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.dispatch_failure_marks_mv TO {database}.minute_marks
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT minute, toDateTime(0, 'UTC') AS hour, now64(3, 'UTC') AS arrived
    FROM {database}.dispatch_failures GROUP BY minute;

-- What happened in each minute, as it was when the minute was computed; of its versions the newest counts.
-- Engine ReplacingMergeTree; key minute, system, queue, type; one partition a month; retention: the layer `minutes`.
CREATE TABLE IF NOT EXISTS {database}.minute_rows
(
    minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    system LowCardinality(String),
    queue LowCardinality(String),
    job_type LowCardinality(String),
    dispatched UInt64 CODEC(T64, ZSTD(1)),
    dispatch_failed UInt64 CODEC(T64, ZSTD(1)),
    started UInt64 CODEC(T64, ZSTD(1)),
    succeeded UInt64 CODEC(T64, ZSTD(1)),
    failed UInt64 CODEC(T64, ZSTD(1)),
    retried UInt64 CODEC(T64, ZSTD(1)),
    expired UInt64 CODEC(T64, ZSTD(1)),
    cancelled UInt64 CODEC(T64, ZSTD(1)),
    rejected UInt64 CODEC(T64, ZSTD(1)),
    lost UInt64 CODEC(T64, ZSTD(1)),
    queue_quantiles Array(Float64) CODEC(ZSTD(1)),
    run_quantiles Array(Float64) CODEC(ZSTD(1)),
    queue_seconds_total Nullable(Float64) CODEC(ZSTD(1)),
    run_seconds_total Nullable(Float64) CODEC(ZSTD(1)),
    queue_count UInt64 CODEC(T64, ZSTD(1)),
    run_count UInt64 CODEC(T64, ZSTD(1)),
    -- Of several shards only, where the quantiles of the parts do not make the quantiles of the whole.
    queue_values Array(Float64) CODEC(ZSTD(1)),
    run_values Array(Float64) CODEC(ZSTD(1)),
    queue_state AggregateFunction(quantilesTDigest(0.5, 0.9, 0.95, 0.99), Float64) CODEC(ZSTD(1)),
    run_state AggregateFunction(quantilesTDigest(0.5, 0.9, 0.95, 0.99), Float64) CODEC(ZSTD(1)),
    waits Map(DateTime('UTC'), UInt64) CODEC(ZSTD(1)),
    oldest Array(DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    first_start Nullable(DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    starts Array(DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    last_trigger Tuple(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
    last_success Nullable(DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    last_failure Nullable(DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    causes Tuple(Array(Tuple(LowCardinality(String), LowCardinality(String))), Array(UInt64)) CODEC(ZSTD(1)),
    beacons_missed UInt64 CODEC(T64, ZSTD(1)),
    negative_waits UInt64 CODEC(T64, ZSTD(1)),
    skews Tuple(Array(Tuple(LowCardinality(String), LowCardinality(String))), Array(UInt64)) CODEC(ZSTD(1)),
    skew_seconds Array(Float64) CODEC(ZSTD(1)),
    pending UInt64 CODEC(T64, ZSTD(1)),
    computed_at DateTime64(3, 'UTC') CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, system, queue, job_type)
SETTINGS ttl_only_drop_parts = 1;

-- The newest version of every stored minute.
CREATE OR REPLACE VIEW {database}.minute_versions
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT minute, max(computed_at) AS version
FROM {database}.minute_rows WHERE system = '' AND queue = '' AND job_type = ''
GROUP BY minute;

-- Minutes whose stored version may be out of date: something arrived since (an insert is visible in one table a little
-- before another: within the last minute, too), it was not over yet, or the clock may change it. No other minutes are
-- ever figured out, so a time before 2020, of a day whose jobs are gone, or more than a day ahead has none: until it is
-- nearer.
CREATE OR REPLACE VIEW {database}.dirty_minutes
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT marks.minute AS minute, versions.version AS version
FROM
(
    SELECT minute, max(arrived) AS arrived FROM {database}.minute_marks
    WHERE minute >= greatest(toDateTime('2020-01-01 00:00:00', 'UTC'), (SELECT jobs_kept_from FROM {database}.horizons))
        AND minute <= now('UTC') + toIntervalDay(1)
    GROUP BY minute
    -- Frozen once one of the jobs it was made of may be gone; hour 0 is no job's.
    HAVING countIf(hour > toDateTime(0, 'UTC') AND hour < (SELECT jobs_kept_from FROM {database}.horizons)) = 0
) AS marks
LEFT JOIN {database}.minute_versions AS versions ON marks.minute = versions.minute
WHERE versions.version < marks.arrived + toIntervalSecond(60)
    OR (marks.minute <= now('UTC') AND versions.version < marks.minute + toIntervalSecond(120))
    OR marks.minute IN (SELECT minute FROM {database}.minute_rows WHERE pending > 0);

-- The stored rows of the newest version of each minute that is not out of date; what is, is asked once a query.
CREATE OR REPLACE VIEW {database}.current_minutes
DEFINER = {definer} SQL SECURITY DEFINER
AS {include current_minutes dirty=(SELECT groupArray(minute) FROM {database}.dirty_minutes)};

-- Makes the minutes that are out of date, those with the oldest versions first, a day of them at a time.
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.minute_rows_mv
REFRESH EVERY 30 SECOND APPEND TO {database}.minute_rows
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH (SELECT groupArray(minute) FROM (SELECT minute FROM {database}.dirty_minutes ORDER BY version,
    minute LIMIT 1440)) AS next_minutes
SELECT *, now64(3, 'UTC') AS computed_at FROM ({include minute_figures minutes=next_minutes})
ORDER BY minute, system, queue, job_type
SETTINGS max_insert_threads = 1, max_threads = 1;

-- What minutes are put together from: what happened in each, and who waited at its end (the running minute: now).
CREATE OR REPLACE VIEW {database}.minute_parts
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT minute, system, queue, job_type, dispatched, dispatch_failed, started, succeeded,
    failed, retried, expired, cancelled,
    rejected, lost, toUInt64(0) AS waiting, toDateTime64(0, 9, 'UTC') AS first_ready,
    arrayMap(x -> if(isNaN(x), NULL, x), queue_quantiles) AS queue_p,
    arrayMap(x -> if(isNaN(x), NULL, x), run_quantiles) AS run_p,
    queue_seconds_total, run_seconds_total, queue_count, run_count, queue_values, run_values, queue_state, run_state
-- As text, not as the view: both halves ask what is out of date as one.
FROM ({include current_minutes dirty=(SELECT groupArray(minute) FROM {database}.dirty_minutes)})
WHERE dispatched + dispatch_failed + started + succeeded + failed + retried + expired + cancelled + rejected + lost > 0
UNION ALL
-- Of a wait of more than 100 days the last 100, so that no single job makes millions of rows.
WITH toUInt32(least(toUnixTimestamp(crossed), toUnixTimestamp(now()) + 1)) AS until
SELECT arrayJoin(arrayMap(m -> toDateTime(m, 'UTC'), range(greatest(toUnixTimestamp(ready_minute),
    toUInt32(intDiv(until, 60) * 60 - 8640000)), until, 60))) AS minute,
    system, queue, job_type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n, its_first_ready, [NULL, NULL, NULL, NULL],
    [NULL, NULL, NULL, NULL], NULL, NULL, 0, 0, [], [],
    arrayReduce('quantilesTDigestState(0.5, 0.9, 0.95, 0.99)', emptyArrayFloat64()),
    arrayReduce('quantilesTDigestState(0.5, 0.9, 0.95, 0.99)', emptyArrayFloat64())
FROM
(
    SELECT minute AS ready_minute, system, queue, job_type, crossed, n, its_first_ready
    FROM ({include stored_minutes dirty=(SELECT groupArray(minute) FROM {database}.dirty_minutes)})
    ARRAY JOIN mapKeys(waits) AS crossed, mapValues(waits) AS n, oldest AS its_first_ready
    UNION ALL
    SELECT minute, system, queue, job_type, crossed, count(), min(since)
    FROM ({include minute_events minutes=(SELECT groupArray(minute) FROM {database}.dirty_minutes)})
    -- The running minute is never a stored one: who is due later in it does not wait yet.
    WHERE kind IN ('ready', 'ready again') AND since <= now64(9, 'UTC')
    GROUP BY minute, system, queue, job_type, crossed
);

CREATE OR REPLACE VIEW {database}.queue_minutes
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    if({sharded}, arrayMap(x -> if(isNaN(x), NULL, x),
        quantilesExactInclusiveArray(0.5, 0.9, 0.95, 0.99)(e.queue_values)),
        [max(e.queue_p[1]), max(e.queue_p[2]), max(e.queue_p[3]), max(e.queue_p[4])]) AS queue_quantiles,
    if({sharded}, arrayMap(x -> if(isNaN(x), NULL, x),
        quantilesExactInclusiveArray(0.5, 0.9, 0.95, 0.99)(e.run_values)),
        [max(e.run_p[1]), max(e.run_p[2]), max(e.run_p[3]), max(e.run_p[4])]) AS run_quantiles
SELECT
    minute, system, queue, job_type,
    sum(e.dispatched) AS dispatched,
    sum(e.dispatch_failed) AS dispatch_failed,
    sum(e.started) AS started,
    sum(e.succeeded) AS succeeded,
    sum(e.failed) AS failed,
    sum(e.retried) AS retried,
    sum(e.expired) AS expired,
    sum(e.cancelled) AS cancelled,
    sum(e.rejected) AS rejected,
    sum(e.lost) AS lost,
    sum(e.waiting) AS waiting,
    if(waiting = 0, NULL,
        (toUnixTimestamp64Nano(least(toDateTime64(minute, 9, 'UTC') + toIntervalSecond(60), now64(9, 'UTC')))
        - toUnixTimestamp64Nano(minIf(e.first_ready, e.waiting > 0))) / 1e9) AS oldest_wait_seconds,
    queue_quantiles[1] AS queue_p50_seconds,
    queue_quantiles[2] AS queue_p90_seconds,
    queue_quantiles[3] AS queue_p95_seconds,
    queue_quantiles[4] AS queue_p99_seconds,
    run_quantiles[1] AS run_p50_seconds,
    run_quantiles[2] AS run_p90_seconds,
    run_quantiles[3] AS run_p95_seconds,
    run_quantiles[4] AS run_p99_seconds,
    sum(e.queue_seconds_total) AS queue_seconds,
    sum(e.run_seconds_total) AS run_seconds,
    sum(e.queue_count) AS queue_count,
    sum(e.run_count) AS run_count,
    quantilesTDigestMergeState(0.5, 0.9, 0.95, 0.99)(e.queue_state) AS queue_state,
    quantilesTDigestMergeState(0.5, 0.9, 0.95, 0.99)(e.run_state) AS run_state
FROM {database}.minute_parts AS e
GROUP BY minute, system, queue, job_type;

-- Workflows by the minute they began, and by the minute they ended once they were complete.
CREATE OR REPLACE VIEW {database}.workflow_minutes
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT
    minute, workflow_type,
    countIf(w.is_start) AS started,
    countIf(NOT w.is_start) AS completed,
    countIf(NOT w.is_start AND w.failed_jobs > 0) AS failed,
    quantileExactInclusiveOrNullIf(0.5)(w.wall_seconds, NOT w.is_start) AS wall_p50_seconds,
    quantileExactInclusiveOrNullIf(0.9)(w.wall_seconds, NOT w.is_start) AS wall_p90_seconds,
    quantileExactInclusiveOrNullIf(0.95)(w.wall_seconds, NOT w.is_start) AS wall_p95_seconds,
    quantileExactInclusiveOrNullIf(0.99)(w.wall_seconds, NOT w.is_start) AS wall_p99_seconds
FROM
(
    SELECT toStartOfMinute(toDateTime(assumeNotNull(started_at), 'UTC')) AS minute, workflow_type,
        1 AS is_start, failed_jobs, wall_seconds
    FROM {database}.workflows WHERE isNotNull(started_at)
    UNION ALL
    SELECT toStartOfMinute(toDateTime(assumeNotNull(ended_at), 'UTC')) AS minute,
        workflow_type, 0, failed_jobs, wall_seconds
    FROM {database}.workflows WHERE isNotNull(ended_at)
) AS w
GROUP BY minute, workflow_type;

-- What triggers what: the type of the parent job, or the trigger of root jobs, and how many jobs came of it.
CREATE OR REPLACE VIEW {database}.job_edges
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT minute, system, if(cause.1 = 'job', cause.2, '') AS parent_type, cause.1 AS trigger, cause.2 AS trigger_name,
    job_type, sum(n) AS dispatched
-- inside: 25.8 looks for the tuple's elements in the view
FROM (SELECT minute, system, job_type, causes FROM {database}.current_minutes)
ARRAY JOIN causes.1 AS cause, causes.2 AS n
GROUP BY minute, system, parent_type, trigger, trigger_name, job_type;

-- When each job type ran, what triggered it last, and how long it has been silent beside its usual interval.
CREATE OR REPLACE VIEW {database}.job_types
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH argMaxIf(m.last_trigger, m.starts[1], notEmpty(m.starts)) AS newest_trigger
SELECT
    system, job_type,
    min(m.first_start) AS first_started_at,
    if(empty(last_starts), NULL, last_starts[1]) AS last_started_at,
    max(m.last_success) AS last_succeeded_at,
    max(m.last_failure) AS last_failed_at,
    newest_trigger.1 AS last_trigger,
    newest_trigger.2 AS last_trigger_name,
    arrayMap(x -> fromUnixTimestamp64Nano(-x, 'UTC'),
        groupArraySortedArray(50)(arrayMap(x -> -toUnixTimestamp64Nano(x), m.starts))) AS last_starts,
    if(length(last_starts) < 2, NULL, arrayReduce('quantileExactInclusive(0.5)',
        arrayMap(i -> (toUnixTimestamp64Nano(last_starts[i]) - toUnixTimestamp64Nano(last_starts[i + 1])) / 1e9,
            range(1, length(last_starts))))) AS usual_interval_seconds,
    (toUnixTimestamp64Nano(now64(9, 'UTC')) - toUnixTimestamp64Nano(last_started_at)) / 1e9 AS silent_seconds
FROM {database}.current_minutes AS m
GROUP BY system, job_type;

-- Of each queue with a start in the last hour: the earliest moment at which an attempt that started was ready. Starts
-- of which that is unknown say nothing. The marks name the hours in which the jobs of those starts are. FINAL is not
-- needed: each row that tells of a start tells all of it, and the earliest of repeats is the earliest.
CREATE OR REPLACE VIEW {database}.starts_lately
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT toString(system) AS system, toString(queue) AS queue, min(ready) AS earliest_ready_at
FROM
(
    SELECT s.system AS system, s.queue AS queue, least(s.started_at, s.observed_started_at) AS start,
        multiIf(s.redelivered = 1 OR s.pairing % 4 = 1, toDateTime64(0, 9, 'UTC'), s.published_at > 0, s.published_at,
            s.attempt = 1 AND s.enqueued_at > toDateTime64(86400, 9, 'UTC'), assumeNotNull(s.enqueued_at),
            toDateTime64(0, 9, 'UTC')) AS published,
        greatest(published, s.due_at) AS ready
    FROM {database}.attempt_states AS s
    WHERE s.hour IN (SELECT hour FROM {database}.minute_marks
        WHERE minute >= toStartOfMinute(now('UTC') - toIntervalHour(1)))
        AND s.pairing % 4 < 3
)
WHERE start >= now64(9, 'UTC') - toIntervalHour(1) AND start < toDateTime64('2261-01-01 00:00:00', 9, 'UTC')
    AND published > toDateTime64(0, 9, 'UTC')
GROUP BY system, queue;

-- The jobs that have not ended, found by their workflows: no other job can be open, and the hours to look at are few.
CREATE OR REPLACE VIEW {database}.open_jobs
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    suspects AS
    (
        SELECT workflow_id FROM {database}.workflow_rows WHERE open_jobs > 0
        UNION ALL
        SELECT workflow_id FROM {database}.dirty_workflows
    ),
    (
        SELECT groupUniqArrayArray(arrayMap(h -> (toDateTime(h, 'UTC'), cityHash64(workflow_id)),
            range(toUnixTimestamp(first_hour), toUnixTimestamp(last_hour) + 1, 3600)))
        FROM {database}.workflow_marks
        WHERE workflow_id IN (SELECT workflow_id FROM suspects)
    ) AS pairs,
    (SELECT mapFromArrays(groupArray(place), groupArray(earliest)) FROM
        (SELECT cityHash64(system, queue) AS place, min(earliest_ready_at) AS earliest
            FROM {everywhere}.starts_lately GROUP BY place)) AS lately
SELECT
    system, queue, job_type, job_id, trace_id, workflow_id, workflow_type, parent_id,
    parent_type, trigger, trigger_name,
    enqueued_at, ready_at, started_at, state, attempts, delay_seconds, queue_seconds,
    run_seconds, error_type, worker, service,
    release, producer, group_id, labels, last_attempt, if(state = 'running', own_started_at, NULL) AS running_since,
    waiting_since,
    -- Ready for an hour in which its queue started others, all of them ready later.
    ifNull(waiting_since <= now64(9, 'UTC') - toIntervalHour(1)
        AND lately[cityHash64(toString(system), toString(queue))] > waiting_since, 0) AS overtaken
FROM {database}.job_rows
WHERE (hour, cityHash64(workflow_id)) IN (SELECT arrayJoin(pairs)) AND is_last AND ended_at IS NULL;

-- What was stored before there were these tables.
-- backfill dispatch_failures_mv
-- backfill minute_marks_mv
