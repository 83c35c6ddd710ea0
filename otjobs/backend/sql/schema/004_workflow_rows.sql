-- Workflows, each with a stored row, so that a list of them needs no look at their jobs.
-- A stored row counts only while nothing can have changed it; the others are computed when they are read. So the view
-- is exact at any moment, with or without refresh, and its cost follows what arrived in the last minute.
-- Why right under duplicates: rows are computed from the states, which are, and never counted together.

-- When the spans of a workflow last arrived, and the hours its jobs are in.
-- Engine AggregatingMergeTree; key day of jobs and workflow; one partition a day; retention: the layer `workflows`.
-- Minima and maxima: repeats change nothing.
CREATE TABLE IF NOT EXISTS {database}.workflow_marks
(
    day Date,
    workflow_id String CODEC(ZSTD(1)),
    first_hour SimpleAggregateFunction(min, DateTime('UTC')) CODEC(ZSTD(1)),
    last_hour SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1)),
    arrived SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    INDEX idx_arrived arrived TYPE minmax GRANULARITY 1,
    INDEX idx_workflow workflow_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = AggregatingMergeTree
PARTITION BY day
ORDER BY (day, workflow_id)
SETTINGS ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.workflow_marks_mv TO {database}.workflow_marks
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT toDate(hour) AS day, workflow_id, min(hour) AS first_hour, max(hour) AS last_hour, now64(3, 'UTC') AS arrived
FROM {database}.attempt_states
GROUP BY day, workflow_id;

-- Engine ReplacingMergeTree; key day and workflow; one partition a month; retention: the layer `workflows`.
-- The newest row of a workflow counts. The row of the empty id, in a partition of its own and so
-- the last of an insert, says how far in order of arrival the rows have come (`through`).
CREATE TABLE IF NOT EXISTS {database}.workflow_rows
(
    day Date,
    workflow_id String CODEC(ZSTD(1)),
    workflow_type LowCardinality(String),
    trigger LowCardinality(String),
    trigger_name LowCardinality(String),
    started_at Nullable(DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    ended_at Nullable(DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    complete UInt8,
    jobs UInt64 CODEC(T64, ZSTD(1)),
    open_jobs UInt64 CODEC(T64, ZSTD(1)),
    failed_jobs UInt64 CODEC(T64, ZSTD(1)),
    attempts UInt64 CODEC(T64, ZSTD(1)),
    wall_seconds Nullable(Float64) CODEC(ZSTD(1)),
    queue_seconds Nullable(Float64) CODEC(ZSTD(1)),
    run_seconds Nullable(Float64) CODEC(ZSTD(1)),
    pending UInt8,
    deleted UInt8,
    through DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    computed_at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    INDEX idx_started started_at TYPE minmax GRANULARITY 1,
    INDEX idx_ended ended_at TYPE minmax GRANULARITY 1,
    INDEX idx_pending pending TYPE minmax GRANULARITY 1,
    INDEX idx_workflow workflow_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toYYYYMM(day)
ORDER BY (day, workflow_id)
SETTINGS ttl_only_drop_parts = 1;

-- Up to which arrival the stored rows have seen everything. An insert is visible in one table a little before another,
-- so what arrived less than a minute before a row was made may not be in it.
CREATE OR REPLACE VIEW {database}.workflow_progress
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT max(least(through, computed_at - toIntervalSecond(60))) AS settled
FROM {database}.workflow_rows WHERE day = toDate('2149-06-06');

CREATE OR REPLACE VIEW {database}.dirty_workflows
DEFINER = {definer} SQL SECURITY DEFINER
AS {include dirty_workflows until=now64(3, 'UTC')};

-- The same as pairs of an hour and the hash of an id, asked once a query: both halves of `workflows` must mean the
-- same.
CREATE OR REPLACE VIEW {database}.dirty_workflow_hours
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT arrayJoin(hours) AS hour, cityHash64(workflow_id) AS id FROM {database}.dirty_workflows;

CREATE OR REPLACE VIEW {database}.workflows
DEFINER = {definer} SQL SECURITY DEFINER
AS
SELECT workflow_id, workflow_id AS trace_id, workflow_type, trigger, trigger_name, started_at,
    ended_at, complete, jobs, open_jobs,
    failed_jobs, attempts, wall_seconds, queue_seconds, run_seconds
FROM {database}.workflow_rows FINAL
WHERE NOT deleted AND day < toDate('2149-06-06')
    AND cityHash64(workflow_id) NOT
        IN (SELECT arrayJoin((SELECT groupArray((hour, id)) FROM {database}.dirty_workflow_hours)).2)
UNION ALL
SELECT workflow_id, trace_id, workflow_type, trigger, trigger_name, started_at, ended_at, complete, jobs, open_jobs,
    failed_jobs, attempts, wall_seconds, queue_seconds, run_seconds
FROM ({include workflow_figures jobs=({include dirty_workflow_jobs pairs=(SELECT groupArray((hour, id))
    FROM {database}.dirty_workflow_hours)})});

-- Makes the rows that are out of date, those whose spans arrived first first, some 100,000 at a time.
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.workflow_rows_mv
REFRESH EVERY 30 SECOND APPEND TO {database}.workflow_rows
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    (SELECT settled FROM {database}.workflow_progress) AS made_through,
    (SELECT greatest(max(arrived), made_through) FROM
        (SELECT arrived FROM {database}.workflow_marks WHERE arrived > made_through ORDER BY arrived LIMIT 100000))
            AS bound,
    next_workflows AS ({include dirty_workflows until=bound}),
    (SELECT groupArray((hour, id)) FROM (SELECT arrayJoin(hours) AS hour, cityHash64(workflow_id) AS id
        FROM next_workflows)) AS next_pairs,
    next_jobs AS ({include dirty_workflow_jobs pairs=next_pairs})
SELECT *, assumeNotNull(bound) AS through, now64(3, 'UTC') AS computed_at
FROM
(
    SELECT day, workflow_id, workflow_type, trigger, trigger_name, started_at, ended_at,
        complete, jobs, open_jobs, failed_jobs,
        attempts, wall_seconds, queue_seconds, run_seconds, pending, 0 AS deleted
    FROM ({include workflow_figures jobs=next_jobs})
    UNION ALL
    -- A workflow that turns out to have begun on an earlier day leaves no row at the later one.
    SELECT arrayJoin(arrayFilter(d -> d > first_day, days)) AS day, workflow_id, '', '', '', NULL, NULL, 0, 0,
        0, 0, 0, NULL, NULL, NULL, 0, 1
    FROM next_workflows
    UNION ALL
    SELECT toDate('2149-06-06'), '', '', '', '', NULL, NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL, 0, 0
)
ORDER BY day, workflow_id
SETTINGS max_insert_threads = 1, max_threads = 1;

-- What was stored before there were marks. Spread over twenty seconds, so that one refresh does not take all; that is
-- less than the minute within which an arrival counts as unsettled.
-- backfill workflow_marks_mv with arrived - toIntervalMillisecond(cityHash64(workflow_id) % 20000) AS arrived
