-- Stuck in processing: jobs that run for longer than a limit and than a multiple of what their type usually takes
--     (p99).
-- param least_seconds Float64 = 600 -- never call a shorter run stuck
-- param times Float64 = 3 -- so many times the p99 of its type
-- param seconds UInt32 = 86400 -- how far back the type's p99 is taken from
SELECT j.job_id AS job_id, j.system AS system, j.queue AS queue, j.job_type AS job_type, j.last_attempt AS attempt,
    j.running_since AS running_since,
    (toUnixTimestamp64Nano(now64(9, 'UTC')) - toUnixTimestamp64Nano(j.running_since)) / 1e9 AS running_seconds,
    if(isNaN(u.p99), NULL, u.p99) AS usual_p99_seconds, j.worker AS worker,
    j.service AS service, j.workflow_id AS workflow_id
FROM open_jobs AS j
LEFT JOIN
(
    SELECT system, job_type, quantilesTDigestMerge(0.5, 0.9, 0.95, 0.99)(run_state)[4] AS p99
    FROM queue_minutes WHERE minute >= toStartOfMinute(now('UTC') - toIntervalSecond({seconds:UInt32}))
    GROUP BY system, job_type
    HAVING sum(run_count) > 0
) AS u ON j.system = u.system AND j.job_type = u.job_type
WHERE j.state = 'running' AND running_seconds >= {least_seconds:Float64} AND running_seconds >= {times:Float64}
    * ifNull(usual_p99_seconds, 0)
ORDER BY running_seconds DESC, job_id
