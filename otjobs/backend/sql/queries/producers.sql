-- Who sends most, and did someone start sending something new: jobs by producer and type, beside the time before.
-- param seconds UInt32 = 3600 -- how far back; it is compared with as long a time before
-- param limit UInt32 = 20 -- how many
WITH now64(9, 'UTC') - toIntervalSecond({seconds:UInt32}) AS since,
    now64(9, 'UTC') - toIntervalSecond(2 * {seconds:UInt32}) AS before
SELECT producer, system, queue, job_type, countIf(enqueued_at >= since) AS jobs,
    count() - jobs AS jobs_before, jobs_before = 0 AS is_new,
    minIf(enqueued_at, enqueued_at >= since) AS first_at, argMaxIf(trigger_name, enqueued_at, enqueued_at >= since)
        AS example_trigger_name
FROM jobs
WHERE enqueued_at >= before
GROUP BY producer, system, queue, job_type
HAVING jobs > 0
ORDER BY is_new DESC, jobs DESC, producer, system, queue, job_type
LIMIT {limit:UInt32}
