-- All rows of the day made before its marks: each is computed again, or is of no workflow. Not those that are frozen.
DELETE FROM {database}.workflow_rows
WHERE day = toDate('{day}') AND computed_at < fromUnixTimestamp64Milli({marked}, 'UTC')
    AND workflow_id NOT IN (SELECT workflow_id FROM {database}.workflow_marks
        WHERE day < toDate(toDateTime({kept}, 'UTC'), 'UTC'))
