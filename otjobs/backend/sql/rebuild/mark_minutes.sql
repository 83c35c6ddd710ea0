-- The minutes of the day, and those in which its jobs were said to have had events; an hour of 0 adds no jobs.
INSERT INTO {database}.minute_marks
SELECT DISTINCT minute, if(toDate(hour) = toDate('{day}'), toDateTime(0, 'UTC'), hour) AS its_hour, now64(3, 'UTC')
FROM {database}.minute_marks
WHERE toDate(hour) = toDate('{day}') OR toDate(minute) = toDate('{day}')
SETTINGS insert_deduplicate = 0, max_partitions_per_insert_block = 0
