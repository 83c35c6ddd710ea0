-- The health of the pipeline itself: what is stored, how fresh, and where clocks disagree.

-- Engine AggregatingMergeTree; key minute; one partition a month; retention: the layer `minutes`.
-- How soon the spans of a minute arrived, and which of them tell of a time that cannot be: one before 2020, of a day
-- whose jobs are gone, or more than a day ahead. A span that itself began at such a time counts in the minute it
-- arrived in. Minima, maxima of times of arrival, and a set of spans: a span that arrives again, later, changes none
-- but the second.
CREATE TABLE IF NOT EXISTS {database}.arrival_minutes
(
    minute DateTime('UTC'),
    lag_seconds SimpleAggregateFunction(min, Nullable(Float64)),
    last_arrived_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    doubtful AggregateFunction(uniqExact, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY minute
SETTINGS ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.arrival_minutes_mv TO {database}.arrival_minutes
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT minute, minIfOrNull(lag, was) AS lag_seconds, now64(3, 'UTC') AS last_arrived_at,
    uniqExactStateIf(id, doubt) AS doubtful
FROM -- inside: 25.8 does not group by what lambdas give
(
    WITH
        toUnixTimestamp64Nano(now64(9, 'UTC')) AS now_ns,
        (SELECT toInt64(toUnixTimestamp(greatest(toDateTime('2020-01-01 00:00:00', 'UTC'), jobs_taken_from)))
            * 1000000000 FROM {database}.horizons) AS earliest,
        ns -> ns >= earliest AND ns <= now_ns + 86400000000000 AS can_be,
        name -> SpanAttributes[name] = '' OR can_be(toInt64OrZero(SpanAttributes[name])) AS may_say,
        toUnixTimestamp64Nano(Timestamp) AS start_ns,
        if(Duration > 315360000000000000, 0, toInt64(Duration)) AS length_ns,
        can_be(start_ns) AS began
    SELECT
        toStartOfMinute(toDateTime(intDiv(if(began, start_ns, now_ns), 1000000000), 'UTC')) AS minute,
        (now_ns - start_ns - length_ns) / 1e9 AS lag,
        began AND can_be(start_ns + length_ns) AS was,
        cityHash64(TraceId, SpanId) AS id,
        NOT (was AND may_say('otjobs.job.enqueued_at') AND may_say('otjobs.job.published_at')
            AND may_say('otjobs.job.received_at')
            AND may_say('otjobs.job.first_started_at') AND may_say('otjobs.workflow.started_at')) AS doubt
    FROM {database}.otel_traces
)
GROUP BY minute;

-- Why right under duplicates: spans are counted by their ids, and what is stored more than once is said.
CREATE OR REPLACE VIEW {database}.pipeline_health
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT
    minute,
    sum(h.spans) AS spans,
    sum(h.duplicates) AS duplicates,
    min(h.lag_seconds) AS freshness_seconds,
    max(h.last_arrived_at) AS last_arrived_at,
    sum(h.beacons_missed) AS beacons_missed,
    sum(h.without_job) AS spans_without_job,
    sum(h.negative_waits) AS negative_waits,
    sum(h.doubtful) AS doubtful_times
FROM
(
    SELECT toStartOfMinute(toDateTime(Timestamp, 'UTC')) AS minute,
        uniqExact(cityHash64(TraceId, SpanId)) AS spans, count() - spans AS duplicates,
        uniqExactIf(cityHash64(TraceId, SpanId), SpanAttributes['otjobs.job.type'] = ''
            OR SpanAttributes['messaging.message.id'] = '') AS without_job,
        NULL AS lag_seconds, NULL AS last_arrived_at, toUInt64(0) AS beacons_missed,
        toUInt64(0) AS negative_waits, toUInt64(0) AS doubtful
    FROM {database}.otel_traces
    -- Others have no minute.
    WHERE Timestamp >= toDateTime64('2020-01-01 00:00:00', 9, 'UTC') AND Timestamp <= now64(9, 'UTC') + toIntervalDay(1)
    GROUP BY minute
    UNION ALL
    SELECT minute, 0, 0, 0, min(a.lag_seconds), max(a.last_arrived_at), 0, 0, uniqExactMerge(a.doubtful)
    FROM {database}.arrival_minutes AS a
    GROUP BY minute
    UNION ALL
    SELECT minute, 0, 0, 0, NULL, NULL, beacons_missed, negative_waits, 0
    FROM {database}.current_minutes
    WHERE beacons_missed + negative_waits > 0
) AS h
GROUP BY minute;

-- Starts before the moment their job was ready, by the hosts whose clocks disagree; '' is a host that is not known.
CREATE OR REPLACE VIEW {database}.clock_skew
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT minute, skew.1 AS producer_host, skew.2 AS host, sum(n) AS negative_waits, max(size) AS max_seconds
FROM (SELECT minute, skews, skew_seconds FROM {database}.current_minutes) -- as in job_edges
ARRAY JOIN skews.1 AS skew, skews.2 AS n, skew_seconds AS size
GROUP BY minute, producer_host, host;

-- When the newest span was stored, whatever it is and whenever it happened. One row always; NULL where there is no
-- span.
CREATE OR REPLACE VIEW {database}.last_arrival
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT maxOrNull(a.last_arrived_at) AS last_arrived_at,
    (toUnixTimestamp64Milli(now64(3, 'UTC')) - toUnixTimestamp64Milli(maxOrNull(a.last_arrived_at))) / 1e3
        AS silent_seconds
FROM {database}.arrival_minutes AS a;
