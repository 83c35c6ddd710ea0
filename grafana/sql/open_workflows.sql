-- Workflows with a job that has not ended, or that is known only from its parent's count.
SELECT count() AS open_workflows
FROM workflows
WHERE NOT complete AND (started_at >= $__fromTime_ms - toIntervalDay({lookback}) OR isNull(started_at))
