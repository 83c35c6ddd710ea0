-- One row per minute, system, queue and job type: what happened in that minute, and who waited at its end. What
--     dashboards and alerts read.
-- Every event counts in the minute of its own time, however late it arrived. Rows exist for minutes with an event or
--     with somebody waiting. A filter on `minute` makes it fast. Add counts and totals, merge states; never add or
--     average quantiles.
SELECT
    minute, -- start of the minute, UTC
    system, -- the queue library: celery, rq, ...
    queue, -- the queue the job was first put on
    job_type, -- the name of the code that runs
    dispatched, -- jobs first published
    dispatch_failed, -- publishes that failed
    started, -- attempts started
    succeeded, -- attempts that ended as success
    failed, -- attempts that failed for good
    retried, -- attempts that failed and will run again
    expired, -- attempts that were too late to start
    cancelled, -- attempts that were cancelled
    rejected, -- attempts that were rejected
    lost, -- attempts that will never end: killed, out of memory
    waiting, -- attempts that could start and had not, at the minute's end; of the running minute: now. Not to be added
    --     over minutes
    oldest_wait_seconds, -- how long the oldest of them has waited; NULL without one
    queue_p50_seconds, -- 50 % quantile of the queueing time of the attempts started in the minute; NULL without one
    queue_p90_seconds, -- 90 % quantile of the queueing time of the attempts started in the minute; NULL without one
    queue_p95_seconds, -- 95 % quantile of the queueing time of the attempts started in the minute; NULL without one
    queue_p99_seconds, -- 99 % quantile of the queueing time of the attempts started in the minute; NULL without one
    run_p50_seconds, -- 50 % quantile of the runtime of the attempts ended in the minute; NULL without one
    run_p90_seconds, -- 90 % quantile of the runtime of the attempts ended in the minute; NULL without one
    run_p95_seconds, -- 95 % quantile of the runtime of the attempts ended in the minute; NULL without one
    run_p99_seconds, -- 99 % quantile of the runtime of the attempts ended in the minute; NULL without one
    queue_seconds, -- total queueing time of the attempts started; NULL when unknown of all
    run_seconds, -- total runtime of the attempts ended; NULL without one
    queue_count, -- of how many attempts `queue_seconds` is the total: what an average divides by
    run_count, -- of how many attempts `run_seconds` is the total
    queue_state, -- merge with quantilesTDigestMerge(0.5, 0.9, 0.95, 0.99) over any range; approximate. Clients cannot
    --     read the state itself
    run_state -- the same for runtimes
FROM queue_minutes
