-- The events in the minutes that the expression {minutes} lists. An attempt gives one for its job's dispatch, its
-- start, its end, the moment it was ready (if it still waited when a minute ended), the moment the retry after it was,
-- and its last sign of life. `since` is that moment, `crossed` the last end of a minute at which it waited. (What is
-- used often gets a layer of its own: it would be analysed anew for each use.)
SELECT *, event.1 AS kind, event.2 AS minute, event.3 AS since, event.4 AS crossed
FROM
(
    WITH
        toDateTime64('2106-01-01 00:00:00', 9, 'UTC') AS far,
        toDateTime64(0, 9, 'UTC') AS never,
        toDateTime(0, 'UTC') AS none,
        run.2 > 0 AS several,
        x -> toStartOfMinute(toDateTime(least(assumeNotNull(x), far), 'UTC')) AS minute_of
    SELECT system, queue, job_type,
        -- Of a message that every worker gets, each run has a start and an end; it was dispatched, and waited, once.
        if(several, run.5, e.outcome) AS outcome,
        if(several, if(wait < 0, 0, wait), e.queue_seconds) AS queue_seconds,
        if(several, (toUnixTimestamp64Nano(ended_at) - toUnixTimestamp64Nano(started_at)) / 1e9, e.run_seconds)
            AS run_seconds,
        if(several, if(run.4 < toDateTime64('2261-01-01 00:00:00', 9, 'UTC'), run.4, NULL), e.started_at) AS started_at,
        if(several, greatest(run.3, ifNull(started_at, run.3)), e.ended_at) AS ended_at,
        trigger, trigger_name, overdue,
        if(several, (toUnixTimestamp64Nano(started_at) - toUnixTimestamp64Nano(e.ready_at)) / 1e9, e.wait) AS wait,
        producer_host,
        if(several, run.9, e.host) AS host,
        pending AS may_change,
        arrayJoin(arrayConcat(
            if(is_last AND run_number < 2 AND isNotNull(enqueued_at),
                [('dispatch', minute_of(enqueued_at), never, none)], []),
            if(isNotNull(started_at), [('start', minute_of(started_at), never, none)], []),
            if(isNotNull(ended_at), [('end', minute_of(ended_at), never, none)], []),
            -- It still waited when a minute ended.
            if(run_number < 2 AND isNotNull(waits_from) AND toUnixTimestamp64Nano(assumeNotNull(waits_from))
                <= toUnixTimestamp(last_crossed) * 1000000000,
                [('ready', minute_of(assumeNotNull(waits_from) - toIntervalNanosecond(1)),
                    assumeNotNull(waits_from), last_crossed)], []),
            if(run_number < 2 AND isNotNull(next_waits_from),
                [('ready again', minute_of(assumeNotNull(next_waits_from) - toIntervalNanosecond(1)),
                    assumeNotNull(next_waits_from),
                    toDateTime(far, 'UTC') - toIntervalMinute(1))], []),
            if(outcome = 'running', [('sign', minute_of(last_sign_at), never, none)], []))) AS event
    FROM
    (
        WITH toDateTime64('2106-01-01 00:00:00', 9, 'UTC') AS far
        SELECT *,
            -- The last end of a minute before it was left. An end of a minute at or after it was ready is one more
            -- nanosecond away than a whole minute, hence the nanosecond taken off above.
            toDateTime(intDiv(toUnixTimestamp64Nano(least(ifNull(left_at, far), far)) - 1, 60000000000) * 60, 'UTC')
                AS last_crossed,
            {include broadcast_runs} AS runs
        FROM {database}.attempt_rows
        WHERE hour IN (SELECT hour FROM {database}.minute_marks WHERE minute IN (SELECT arrayJoin({minutes})))
    ) AS e
    LEFT ARRAY JOIN e.runs AS run, arrayEnumerate(e.runs) AS run_number
)
WHERE minute IN (SELECT arrayJoin({minutes}))
