-- All versions of the day's minutes made before their marks: each is computed again, or nothing happened in it. Not
-- those that are frozen.
DELETE FROM {database}.minute_rows
WHERE toDate(minute) = toDate('{day}') AND computed_at < fromUnixTimestamp64Milli({marked}, 'UTC')
    AND minute NOT IN (SELECT minute FROM {database}.minute_marks
        WHERE hour > toDateTime(0, 'UTC') AND hour < toDateTime({kept}, 'UTC'))
