-- Minutes of the day that are marked and have no version made since.
SELECT count() FROM
(
    SELECT minute FROM {database}.dirty_minutes
    WHERE toDate(minute) = {day:Date} AND version < fromUnixTimestamp64Milli({marked:Int64}, 'UTC')
)
