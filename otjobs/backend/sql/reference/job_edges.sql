-- One row per minute, cause and job type: how many jobs came of what. The arrows of a diagram.
-- Jobs without `enqueued_at` are not in it.
SELECT
    minute, -- minute of the dispatch, UTC
    system, -- the queue library
    parent_type, -- type of the parent job; '' where the cause is no job
    trigger, -- job, request, schedule or manual
    trigger_name, -- route, schedule entry or parent type
    job_type, -- type of the jobs dispatched
    dispatched -- how many
FROM job_edges
