-- The jobs that have not ended: `jobs` with `ended_at IS NULL`, found by their workflows instead of by a look at every
--     job.
-- Counts no job that is known only because a child names it. Needs no filter to be fast.
SELECT
    system, -- the queue library: celery, rq, ...
    queue, -- the queue the job was first put on
    job_type, -- the name of the code that runs
    job_id, -- the library's id of the job; unique within workflow, system and queue
    trace_id, -- trace of the last attempt, 32 hex digits; differs from `workflow_id` only in link mode
    workflow_id, -- the workflow: normally the trace id of its root
    workflow_type, -- type of the root job; '' while unknown
    parent_id, -- the job whose run dispatched this one; '' on roots
    parent_type, -- type of that job; '' on roots
    trigger, -- what caused it: request, schedule or manual on roots, job on children; '' when unknown
    trigger_name, -- route, schedule entry, or the parent's type
    enqueued_at, -- first publication; NULL when the producer is not instrumented. The filter that makes a query fast
    ready_at, -- as in `jobs`
    started_at, -- as in `jobs`: start of the first attempt
    state, -- scheduled, waiting (also a retry that is due), running, retrying (in backoff) or unpaired (of another
    --     instrumentation, whether it ever started is not known)
    attempts, -- how many attempts started
    delay_seconds, -- as in `jobs`
    queue_seconds, -- as in `jobs`
    run_seconds, -- as in `jobs`: of the attempts that ended
    error_type, -- of the last attempt; '' without one
    worker, -- worker name
    service, -- service of the worker
    release, -- its `service.version`
    producer, -- service that dispatched the job; '' when unknown
    group_id, -- the library's id of a group or chord; '' without one
    labels, -- the user's own labels
    last_attempt, -- number of the last known attempt
    running_since, -- start of the attempt that runs; NULL where none does
    waiting_since, -- since when it could start, of a retry when that was due; NULL unless its state is waiting
    overtaken -- 1 when it waits for at least an hour, and its queue started others in the last hour, all of them ready
    --     later
FROM open_jobs
