-- The jobs of the last while, filtered by queue, type, state and error ('' is any): newest, slowest or longest waiting
--     first.
-- param seconds UInt32 = 86400 -- how far back
-- param queue String =  -- the queue
-- param job_type String =  -- the job type
-- param state String =  -- one of scheduled, waiting, running, succeeded, failed, retrying, expired, cancelled,
--     rejected, lost, unpaired
-- param error_type String =  -- the last attempt's error
-- param sort String = newest -- one of newest, runtime, wait
-- param limit UInt32 = 50 -- how many
SELECT job_id, system, queue, job_type, state, attempts, enqueued_at, delay_seconds, queue_seconds,
    run_seconds, error_type, worker,
    workflow_id, trace_id
FROM jobs
WHERE coalesce(enqueued_at, started_at) >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32})
    AND (enqueued_at >= now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) OR enqueued_at IS NULL)
    AND ({queue:String} = '' OR queue = {queue:String}) AND ({job_type:String} = '' OR job_type = {job_type:String})
    AND ({state:String} = '' OR state = {state:String})
    AND ({error_type:String} = '' OR error_type = {error_type:String})
ORDER BY
    multiIf({sort:String} = 'runtime', run_seconds, {sort:String} = 'wait', queue_seconds, NULL) DESC NULLS LAST,
    coalesce(enqueued_at, started_at) DESC, job_id
LIMIT {limit:UInt32}
