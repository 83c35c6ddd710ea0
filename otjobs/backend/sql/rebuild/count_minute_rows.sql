-- How many rows of `minute_rows` the day has: of each minute those of its newest version, and none that only say when.
SELECT count() FROM {database}.minute_rows WHERE toDate(minute) = {day:Date} AND job_type != ''
    AND (minute, computed_at) IN (SELECT minute, version FROM {database}.minute_versions)
