-- One row per workflow: a root job, or several, and all that came of it.
-- Stored rows are used where nothing can have changed them, the rest is computed when read: exact at any moment.
--     `complete` is never said too early (readings.md names the exceptions). A filter on `started_at` or `ended_at`
--     makes it fast.
SELECT
    workflow_id, -- id of the workflow
    trace_id, -- the same
    workflow_type, -- type of the earliest root; '' while unknown
    trigger, -- trigger of the earliest root that arrived
    trigger_name, -- its route or schedule entry
    started_at, -- dispatch of the earliest root; NULL when its producer is not instrumented
    ended_at, -- last end; NULL until complete
    complete, -- 1 when every job of it has ended and none can be missing
    jobs, -- jobs that are known by a span of their own
    open_jobs, -- those that have not ended
    failed_jobs, -- those failed, lost, expired or rejected; not the cancelled
    attempts, -- attempts started
    wall_seconds, -- from the earliest dispatch to the last end; NULL until complete
    queue_seconds, -- sum over its jobs; NULL when none has one
    run_seconds -- sum over its jobs; NULL when none has one
FROM workflows
