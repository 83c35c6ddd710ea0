-- One row per minute and workflow type: workflows that began and that completed in it.
-- Counts a workflow in `completed` once it is complete, in the minute of its last end.
SELECT
    minute, -- start of the minute, UTC
    workflow_type, -- type of the root job
    started, -- workflows begun, by `started_at`
    completed, -- workflows completed, by `ended_at`
    failed, -- of the completed: those with at least one failed job
    wall_p50_seconds, -- 50 % quantile of the wall time of those completed; NULL without one
    wall_p90_seconds, -- 90 % quantile of the wall time of those completed; NULL without one
    wall_p95_seconds, -- 95 % quantile of the wall time of those completed; NULL without one
    wall_p99_seconds -- 99 % quantile of the wall time of those completed; NULL without one
FROM workflow_minutes
