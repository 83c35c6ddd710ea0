-- One row per job type: when it ran, what triggered it last, whether it has gone silent.
-- Starts of before the minutes' retention are forgotten. It looks at every stored minute.
SELECT
    system, -- the queue library: celery, rq, ...
    job_type, -- the name of the code that runs
    first_started_at, -- first start that is known; NULL without one
    last_started_at, -- last start; NULL without one
    last_succeeded_at, -- last end as success; NULL without one
    last_failed_at, -- last end as failure, lost, expired or rejected; NULL without one
    last_trigger, -- trigger of the attempt that started last
    last_trigger_name, -- its route, schedule entry or parent type
    last_starts, -- the last 50 starts, newest first
    usual_interval_seconds, -- median gap between them; NULL with fewer than two
    silent_seconds -- from the last start until now; NULL without one
FROM job_types
