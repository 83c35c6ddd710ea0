-- The events in the minutes that the expression {minutes} lists. An attempt gives one for its job's dispatch, its start, its
-- end, the moment it was ready (if it still waited when a minute ended), the moment the retry after it was, and its last
-- sign of life. `since` is that moment, `crossed` the last end of a minute at which it waited. (What is used often gets a
-- layer of its own: it would be analysed anew for each use.)
SELECT *, event.1 AS kind, event.2 AS minute, event.3 AS since, event.4 AS crossed
FROM
(
    WITH
        toDateTime64('2106-01-01 00:00:00', 9, 'UTC') AS far,
        toDateTime64(0, 9, 'UTC') AS never,
        toDateTime(0, 'UTC') AS none,
        x -> toStartOfMinute(toDateTime(least(assumeNotNull(x), far), 'UTC')) AS minute_of
    SELECT system, queue, job_type, outcome, queue_seconds, run_seconds, started_at, ended_at, trigger, trigger_name,
        overdue, wait, producer_host, host, pending AS may_change,
        arrayJoin(arrayConcat(
            if(is_last AND isNotNull(enqueued_at), [('dispatch', minute_of(enqueued_at), never, none)], []),
            if(isNotNull(started_at), [('start', minute_of(started_at), never, none)], []),
            if(isNotNull(ended_at), [('end', minute_of(ended_at), never, none)], []),
            -- It still waited when a minute ended.
            if(isNotNull(waits_from) AND toUnixTimestamp64Nano(assumeNotNull(waits_from)) <= toUnixTimestamp(last_crossed) * 1000000000,
                [('ready', minute_of(assumeNotNull(waits_from) - toIntervalNanosecond(1)), assumeNotNull(waits_from), last_crossed)], []),
            if(isNotNull(next_waits_from),
                [('ready again', minute_of(assumeNotNull(next_waits_from) - toIntervalNanosecond(1)), assumeNotNull(next_waits_from),
                    toDateTime(far, 'UTC') - toIntervalMinute(1))], []),
            if(outcome = 'running', [('sign', minute_of(last_sign_at), never, none)], []))) AS event
    FROM
    (
        WITH toDateTime64('2106-01-01 00:00:00', 9, 'UTC') AS far
        SELECT *,
            -- The last end of a minute before it was left. An end of a minute at or after it was ready is one more nanosecond
            -- away than a whole minute, hence the nanosecond taken off above.
            toDateTime(intDiv(toUnixTimestamp64Nano(least(ifNull(left_at, far), far)) - 1, 60000000000) * 60, 'UTC') AS last_crossed
        FROM {database}.attempt_rows
        WHERE hour IN (SELECT hour FROM {database}.minute_marks WHERE minute IN (SELECT arrayJoin({minutes})))
    )
)
WHERE minute IN (SELECT arrayJoin({minutes}))
