-- The events in the minutes that the expression {minutes} lists. An attempt gives one for its job's dispatch, its start, its
-- end, the moment it was ready (if it still waited when a minute ended), and its last sign of life. (What is used often gets
-- a layer of its own: it would be analysed anew for each use.)
SELECT *, event.1 AS kind, event.2 AS minute
FROM
(
    WITH
        toDateTime64('2106-01-01 00:00:00', 9, 'UTC') AS far,
        x -> toStartOfMinute(toDateTime(least(assumeNotNull(x), far), 'UTC')) AS minute_of
    SELECT system, queue, job_type, outcome, queue_seconds, run_seconds, ready_at, started_at, ended_at, trigger, trigger_name,
        overdue, wait, producer_host, host, pending AS may_change, crossed,
        arrayJoin(arrayConcat(
            if(is_last AND isNotNull(enqueued_at), [('dispatch', minute_of(enqueued_at))], []),
            if(isNotNull(started_at), [('start', minute_of(started_at))], []),
            if(isNotNull(ended_at), [('end', minute_of(ended_at))], []),
            -- It still waited when a minute ended.
            if(isNotNull(ready_at) AND toUnixTimestamp64Nano(assumeNotNull(ready_at)) <= toUnixTimestamp(crossed) * 1000000000,
                [('ready', minute_of(assumeNotNull(ready_at) - toIntervalNanosecond(1)))], []),
            if(outcome = 'running', [('sign', minute_of(last_sign_at))], []))) AS event
    FROM
    (
        WITH toDateTime64('2106-01-01 00:00:00', 9, 'UTC') AS far
        SELECT *,
            -- The last end of a minute before it was left. An end of a minute at or after `ready` is one more nanosecond
            -- away than a whole minute, hence the nanosecond taken off above.
            toDateTime(intDiv(toUnixTimestamp64Nano(least(ifNull(left_at, far), far)) - 1, 60000000000) * 60, 'UTC') AS crossed
        FROM {database}.attempt_rows
        WHERE hour IN (SELECT hour FROM {database}.minute_marks WHERE minute IN (SELECT arrayJoin({minutes})))
    )
)
WHERE minute IN (SELECT arrayJoin({minutes}))
