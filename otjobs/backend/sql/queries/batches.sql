-- Workflows of a type that must be complete within a time: which are in time, late, under way or overdue.
-- param workflow_type String =  -- the type of the root job; '' is all
-- param window_seconds UInt32 = 3600 -- must be complete so long after its start
-- param seconds UInt32 = 86400 -- how far back they began
-- param limit UInt32 = 200 -- how many
SELECT workflow_id, workflow_type, started_at, started_at + toIntervalSecond({window_seconds:UInt32}) AS due_at,
    ended_at, complete, jobs, open_jobs, failed_jobs,
    wall_seconds,
    multiIf(complete AND ended_at <= due_at, 'in time', complete, 'late', now64(9, 'UTC') <= due_at,
        'under way', 'overdue') AS standing
FROM workflows
WHERE started_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND ({workflow_type:String} = '' OR workflow_type = {workflow_type:String})
ORDER BY indexOf(['overdue', 'late', 'under way', 'in time'], standing), started_at DESC, workflow_id
LIMIT {limit:UInt32}
