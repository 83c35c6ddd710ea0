-- A job to look up: one of the last hours that was dispatched by another.
SELECT job_id, workflow_id FROM jobs WHERE enqueued_at >= now() - INTERVAL 2 HOUR AND parent_id != '' LIMIT 1
