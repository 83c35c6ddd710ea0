-- The events in the minutes that the expression {minutes} lists. An attempt gives one for its job's dispatch, its start, its
-- end, the moment it was ready (if it still waited when a minute ended), and its last sign of life.
WITH
    toDateTime64('2106-01-01 00:00:00', 9, 'UTC') AS far,
    x -> toStartOfMinute(toDateTime(least(assumeNotNull(x), far), 'UTC')) AS minute_of,
    ifNull(left_at, far) AS left_or_never,
    -- The last end of a minute before it was left. An end of a minute at or after `ready` is one more nanosecond
    -- away than a whole minute, hence the nanosecond taken off below.
    toDateTime(intDiv(toUnixTimestamp64Nano(least(left_or_never, far)) - 1, 60000000000) * 60, 'UTC') AS last_end,
    isNotNull(ready_at) AND toUnixTimestamp64Nano(assumeNotNull(ready_at)) <= toUnixTimestamp(last_end) * 1000000000 AS crosses
SELECT system, queue, job_type, outcome, queue_seconds, run_seconds, ready_at, started_at, ended_at, trigger, trigger_name,
    overdue, wait, producer_host, host, pending AS may_change, last_end AS crossed,
    arrayJoin(arrayConcat(
        if(is_last AND isNotNull(enqueued_at), [('dispatch', minute_of(enqueued_at))], []),
        if(isNotNull(started_at), [('start', minute_of(started_at))], []),
        if(isNotNull(ended_at), [('end', minute_of(ended_at))], []),
        if(crosses, [('ready', minute_of(assumeNotNull(ready_at) - toIntervalNanosecond(1)))], []),
        if(outcome = 'running', [('sign', minute_of(last_sign_at))], []))) AS event,
    event.1 AS kind, event.2 AS minute
FROM {database}.attempt_rows
WHERE hour IN (SELECT hour FROM {database}.minute_marks WHERE minute IN (SELECT arrayJoin({minutes})))
    AND minute IN (SELECT arrayJoin({minutes}))
