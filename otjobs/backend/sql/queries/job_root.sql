-- A job back to its root: the job, its parent, its parent's parent, up to what triggered it all.
-- param job_id String =  -- the job id
-- param workflow_id String =  -- its workflow, where several have a job of that id; '' is the newest
-- param levels UInt32 = 100 -- at most so far up
WITH
    (SELECT argMax(workflow_id, coalesce(enqueued_at, started_at)) FROM jobs
        WHERE job_id = {job_id:String} AND ({workflow_id:String} = '' OR workflow_id = {workflow_id:String})) AS wanted,
    (SELECT groupArray((cityHash64(toString(job_type), job_id),
        if(parent_id = '', 0, cityHash64(toString(parent_type), parent_id)), job_id = {job_id:String}))
        FROM jobs WHERE workflow_id = wanted) AS links,
    mapFromArrays(links.1, links.2) AS parent_of,
    -- From the job upwards; a parent that is not known (yet), or was seen before, ends it.
    arrayFold((path, _) -> if(path[-1] = 0 OR parent_of[path[-1]] = 0 OR has(path, parent_of[path[-1]]), path,
        arrayPushBack(path, parent_of[path[-1]])),
        range({levels:UInt32}), [arrayFirst(x -> x.3, links).1]) AS path
SELECT indexOf(path, cityHash64(toString(job_type), job_id)) - 1 AS level, job_id, system, queue, job_type, state,
    parent_id, parent_type, trigger, trigger_name,
    enqueued_at, started_at, ended_at, queue_seconds, run_seconds, workflow_id
FROM jobs
WHERE workflow_id = wanted AND has(path, cityHash64(toString(job_type), job_id))
ORDER BY level
