-- Workflows of the day that are marked and have no row made since.
SELECT count() FROM {database}.dirty_workflows
WHERE first_day = {day:Date} AND workflow_id NOT IN
    (SELECT workflow_id FROM {database}.workflow_rows WHERE day = {day:Date}
        AND computed_at >= fromUnixTimestamp64Milli({marked:Int64}, 'UTC'))
