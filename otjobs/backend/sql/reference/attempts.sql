-- One row per attempt that started or ended: the executions of a job. Of a message that every worker gets, one for each
--     of them.
-- An attempt that waits has no row here; see `open_jobs`. A redelivered attempt has no publication of its own:
--     `published_at`, `ready_at` and `queue_seconds` are NULL.
SELECT
    system, -- the queue library: celery, rq, ...
    queue, -- the queue the job was first put on
    job_type, -- the name of the code that runs
    job_id, -- the library's id of the job; unique within workflow, system and queue
    workflow_id, -- the workflow: normally the trace id of its root
    attempt, -- 1, 2, ...; numbers may have gaps
    published_at, -- publication of this attempt; NULL when unknown
    ready_at, -- when this attempt could start; NULL when unknown
    received_at, -- when the worker took the message (prefetch); NULL when unknown
    started_at, -- start; NULL when it ended without one (expired, cancelled, rejected)
    ended_at, -- end, of a lost attempt its last sign of life; NULL while it runs
    cpu_seconds, -- CPU time of its thread; NULL when unknown
    queue_seconds, -- start minus ready, 0 where clocks disagree; NULL when unknown
    run_seconds, -- end minus start; NULL while it runs and where it never started
    outcome, -- success, failure, retry, expired, cancelled, rejected, lost, or running
    error_type, -- exception class or reason; '' without one
    enqueued_at, -- first publication; NULL when the producer is not instrumented. The filter that makes a query fast
    parent_id, -- the job whose run dispatched this one; '' on roots
    worker, -- worker name
    host, -- host of the worker
    service, -- service of the worker
    release, -- its `service.version`
    trace_id, -- trace of this attempt, 32 hex digits
    span_id, -- its execute span
    parent_type, -- type of that job; '' on roots
    due_at, -- earliest allowed start; NULL without
    max_attempts, -- how many attempts are allowed; 0 when unknown
    redelivered, -- 1 when the broker delivered the message again
    dispatched, -- distinct jobs it dispatched; 0 until it reported
    dead_letter, -- 1 when it was set aside for good
    attempt_queue, -- the queue it ran from
    observed, -- 1 when another process reported its end
    workflow_type, -- type of the root job; '' while unknown
    trigger, -- what caused it: request, schedule or manual on roots, job on children; '' when unknown
    trigger_name, -- route, schedule entry, or the parent's type
    group_id, -- the library's id of a group or chord; '' without one
    producer -- service that dispatched the job; '' when unknown
FROM attempts
