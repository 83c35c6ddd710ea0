-- Time to complete a workflow, by type: average and quantiles of those that completed in the last while.
-- param seconds UInt32 = 86400 -- how far back
-- param workflow_type String =  -- only this type of root job
SELECT workflow_type, count() AS completed, countIf(failed_jobs > 0) AS with_failures,
    avg(w.wall_seconds) AS wall_avg_seconds,
    quantileExactInclusiveOrNull(0.5)(w.wall_seconds) AS wall_p50_seconds,
    quantileExactInclusiveOrNull(0.9)(w.wall_seconds) AS wall_p90_seconds,
    quantileExactInclusiveOrNull(0.95)(w.wall_seconds) AS wall_p95_seconds,
    quantileExactInclusiveOrNull(0.99)(w.wall_seconds) AS wall_p99_seconds, avg(w.jobs) AS jobs_avg
FROM workflows AS w
WHERE complete AND ended_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND ({workflow_type:String} = '' OR workflow_type = {workflow_type:String})
GROUP BY workflow_type
ORDER BY completed DESC, workflow_type
