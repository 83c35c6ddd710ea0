-- What happened to jobs inside the time range, in the columns of `queue_minutes`, one row an event.
-- The one place that says where counts over time come from: `minute` may as well be a whole minute, and the counts sums.
SELECT enqueued_at AS minute, system, queue, job_type, 1 AS dispatched, 0 AS started, 0 AS succeeded, 0 AS failed,
        0 AS retried, 0 AS expired, 0 AS cancelled, 0 AS rejected, 0 AS lost
    FROM jobs
    WHERE $__timeFilter_ms(enqueued_at)
        AND {scope}
    UNION ALL
    SELECT moment, system, queue, job_type, 0, what = 'started', what = 'success', what = 'failure', what = 'retry',
        what = 'expired', what = 'cancelled', what = 'rejected', what = 'lost'
    FROM (SELECT system, queue, job_type, started_at, ended_at, outcome FROM attempts
        WHERE {around}
        AND {scope})
    ARRAY JOIN [started_at, ended_at] AS moment, ['started', outcome] AS what
    WHERE $__timeFilter_ms(moment)
