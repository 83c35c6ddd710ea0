-- Spread over twenty seconds, so that one refresh does not take all of a day; less than the minute within which an
-- arrival counts as unsettled.
INSERT INTO {database}.workflow_marks
SELECT day, workflow_id, min(first_hour), max(last_hour),
    now64(3, 'UTC') - toIntervalMillisecond(cityHash64(workflow_id) % 20000)
FROM {database}.workflow_marks
WHERE day = toDate('{day}')
GROUP BY day, workflow_id
SETTINGS insert_deduplicate = 0
