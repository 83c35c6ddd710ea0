-- All rows of the jobs of the workflows in {workflows}.
SELECT * FROM {database}.job_rows
WHERE hour IN (SELECT arrayJoin(arrayMap(h -> toDateTime(h, 'UTC'), range(toUnixTimestamp(begins), toUnixTimestamp(ends) + 1, 3600))) FROM {workflows})
    AND workflow_id IN (SELECT workflow_id FROM {workflows})
