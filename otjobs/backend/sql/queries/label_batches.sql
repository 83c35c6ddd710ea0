-- Jobs with a label as batches that must be done within a time: a row for each value of the label.
-- param label String =  -- the name of the label, without otjobs.label.
-- param value String =  -- only this value
-- param window_seconds UInt32 = 3600 -- must be done so long after its first dispatch
-- param seconds UInt32 = 86400 -- how far back
SELECT labels[{label:String}] AS batch, min(coalesce(j.enqueued_at, j.started_at)) AS first_at,
    first_at + toIntervalSecond({window_seconds:UInt32}) AS due_at,
    if(open_jobs = 0, max(j.ended_at), NULL) AS ended_at, count() AS jobs, countIf(j.ended_at IS NULL) AS open_jobs,
    countIf(j.state IN ('failed', 'lost', 'expired', 'rejected')) AS failed_jobs,
    multiIf(open_jobs = 0 AND ended_at <= due_at, 'in time', open_jobs = 0, 'late', now64(9, 'UTC') <= due_at,
        'under way', 'overdue') AS standing
FROM jobs AS j
WHERE coalesce(j.enqueued_at, j.started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (j.enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR j.enqueued_at IS NULL)
    AND mapContains(labels, {label:String}) AND ({value:String} = '' OR labels[{label:String}] = {value:String})
GROUP BY batch
ORDER BY first_at DESC, batch
