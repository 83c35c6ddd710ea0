-- One row per job: what became of it. Exact as soon as its spans arrived, and not before: no figure waits for a
--     refresh.
-- A job of an instrumented worker and an un-instrumented producer has `enqueued_at` NULL and its row; one whose publish
--     failed has none.
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
    ready_at, -- when it could first start: the larger of publication and due time; NULL when neither is known
    started_at, -- start of the first attempt that started; NULL before
    ended_at, -- end of the last attempt; NULL while the job is open, also between two attempts
    state, -- scheduled, waiting (also a retry that is due), running, succeeded, failed, retrying (in backoff), expired,
    --     cancelled, rejected, lost, or unpaired (of another instrumentation, whether it ever started is not known)
    attempts, -- how many attempts started
    delay_seconds, -- waiting that was asked for: from publication to due time; NULL with `ready_at`
    queue_seconds, -- queueing time of the first attempt that started: start minus ready, 0 where clocks disagree; NULL
    --     before, and when unknown
    run_seconds, -- runtime of all ended attempts together; NULL before one that started has ended
    error_type, -- exception class or reason of the last attempt; '' without one
    dead_letter, -- 1 when it was set aside for good
    worker, -- worker of the last attempt
    service, -- service of the last attempt
    release, -- `service.version` of that service
    producer, -- service that dispatched the job; '' when unknown
    group_id, -- the library's id of a group or chord; '' without one
    dispatched, -- how many jobs its ended attempts dispatched
    labels, -- the user's own labels
    parent_attempt, -- which attempt of the parent dispatched it; 0 on roots
    workflow_started_at, -- dispatch of the root job; NULL when unknown
    expires_at, -- when it expires if it has not started; NULL without
    max_attempts -- how many attempts are allowed; 0 when unknown
FROM jobs
