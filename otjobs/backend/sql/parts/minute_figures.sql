-- What happened in each of the minutes that the expression {minutes} lists, by queue and type, from the attempts of
-- the hours that the marks name; and for each minute one row with empty names that says when it was computed.
SELECT
    minute, system, queue, job_type,
    countIf(kind = 'dispatch') AS dispatched,
    countIf(kind = 'failed dispatch') AS dispatch_failed,
    countIf(kind = 'start') AS started,
    countIf(kind = 'end' AND outcome = 'success') AS succeeded,
    countIf(kind = 'end' AND outcome = 'failure') AS failed,
    countIf(kind = 'end' AND outcome = 'retry') AS retried,
    countIf(kind = 'end' AND outcome = 'expired') AS expired,
    countIf(kind = 'end' AND outcome = 'cancelled') AS cancelled,
    countIf(kind = 'end' AND outcome = 'rejected') AS rejected,
    countIf(kind = 'end' AND outcome = 'lost') AS lost,
    quantilesExactInclusiveIf(0.5, 0.9, 0.95, 0.99)(assumeNotNull(queue_seconds), kind = 'start'
        AND isNotNull(queue_seconds)) AS queue_quantiles,
    quantilesExactInclusiveIf(0.5, 0.9, 0.95, 0.99)(assumeNotNull(run_seconds), kind = 'end' AND isNotNull(run_seconds))
        AS run_quantiles,
    sumIf(queue_seconds, kind = 'start') AS queue_seconds_total,
    sumIf(run_seconds, kind = 'end') AS run_seconds_total,
    countIf(kind = 'start' AND isNotNull(queue_seconds)) AS queue_count,
    countIf(kind = 'end' AND isNotNull(run_seconds)) AS run_count,
    groupArrayIf(assumeNotNull(queue_seconds), {sharded} AND kind = 'start' AND isNotNull(queue_seconds))
        AS queue_values,
    groupArrayIf(assumeNotNull(run_seconds), {sharded} AND kind = 'end' AND isNotNull(run_seconds)) AS run_values,
    quantilesTDigestStateIf(0.5, 0.9, 0.95, 0.99)(assumeNotNull(queue_seconds), kind = 'start'
        AND isNotNull(queue_seconds)) AS queue_state,
    quantilesTDigestStateIf(0.5, 0.9, 0.95, 0.99)(assumeNotNull(run_seconds), kind = 'end' AND isNotNull(run_seconds))
        AS run_state,
    -- Attempts that became ready in this minute and still waited when a minute ended, by the last such end.
    mapFromArrays(minMapIf([crossed], [since], kind IN ('ready', 'ready again')).1,
        sumMapIf([crossed], [toUInt64(1)], kind IN ('ready', 'ready again')).2) AS waits,
    minMapIf([crossed], [since], kind IN ('ready', 'ready again')).2 AS oldest,
    minIf(started_at, kind = 'start') AS first_start,
    arraySlice(arrayReverseSort(groupArrayIf(assumeNotNull(started_at), kind = 'start')), 1, 50) AS starts,
    argMaxIf((trigger, trigger_name), assumeNotNull(started_at), kind = 'start') AS last_trigger,
    maxIf(ended_at, kind = 'end' AND outcome = 'success') AS last_success,
    maxIf(ended_at, kind = 'end' AND outcome IN ('failure', 'lost', 'expired', 'rejected')) AS last_failure,
    sumMapIf([(trigger, trigger_name)], [toUInt64(1)], kind = 'dispatch') AS causes,
    countIf(overdue AND kind IN ('sign', 'end')) AS beacons_missed,
    -- Starts before the moment the job was ready, which only clocks that disagree can give, by the hosts of both
    -- clocks.
    countIf(kind = 'start' AND wait < 0) AS negative_waits,
    sumMapIf([(producer_host, host)], [toUInt64(1)], kind = 'start' AND wait < 0) AS skews,
    maxMapIf([(producer_host, host)], [-assumeNotNull(wait)], kind = 'start' AND wait < 0).2 AS skew_seconds,
    -- A run that has not ended may turn out lost, at its last sign of life; who waits may turn out to have left; and
    -- the spans of the attempt that a retry waits for need not repeat since when it did.
    countIf(kind = 'ready again' OR (may_change AND kind IN ('sign', 'ready'))) AS pending
FROM
(
    {include minute_events minutes={minutes}}
    UNION ALL
    SELECT system, queue, job_type, '', NULL, NULL, NULL, NULL, '', '', 0, NULL, '', '', 0,
        ('', minute, toDateTime64(0, 9, 'UTC'), toDateTime(0, 'UTC')), 'failed dispatch', minute,
        toDateTime64(0, 9, 'UTC'), toDateTime(0, 'UTC')
    FROM {database}.dispatch_failures FINAL
    WHERE minute IN (SELECT arrayJoin({minutes}))
    UNION ALL
    SELECT '', '', '', '', NULL, NULL, NULL, NULL, '', '', 0, NULL, '', '', 0,
        ('', its_minute, toDateTime64(0, 9, 'UTC'), toDateTime(0, 'UTC')), '', its_minute,
        toDateTime64(0, 9, 'UTC'), toDateTime(0, 'UTC')
    FROM (SELECT arrayJoin({minutes}) AS its_minute)
)
GROUP BY minute, system, queue, job_type
