-- One number for each queue where jobs have waited for the whole window and in which nothing started: how many wait so.
SELECT system, queue, count() AS waiting
FROM open_jobs
WHERE state = 'waiting' AND waiting_since <= $__fromTime_ms
    AND (system, queue) NOT IN (SELECT system, queue FROM queue_minutes WHERE minute >= toStartOfMinute($__fromTime) AND started > 0)
GROUP BY system, queue
