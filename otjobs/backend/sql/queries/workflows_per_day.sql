-- Workflows completed each day (UTC), by type.
-- param days UInt32 = 7 -- how many days back, today besides
-- param workflow_type String =  -- only this type of root job
SELECT toDate(assumeNotNull(ended_at)) AS day, workflow_type, count() AS completed, countIf(failed_jobs > 0)
    AS with_failures, sum(w.jobs) AS jobs,
    avg(w.wall_seconds) AS wall_avg_seconds
FROM workflows AS w
WHERE complete AND ended_at >= toStartOfDay(now('UTC')) - toIntervalDay({days:UInt32})
    AND ({workflow_type:String} = '' OR workflow_type = {workflow_type:String})
GROUP BY day, workflow_type
ORDER BY day, workflow_type
