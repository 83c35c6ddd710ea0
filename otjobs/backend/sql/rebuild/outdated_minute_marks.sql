-- Marks of events that the jobs of the day do not have.
DELETE FROM {database}.minute_marks WHERE toDate(hour) = toDate('{day}')
    AND arrived < fromUnixTimestamp64Milli({marked}, 'UTC')
