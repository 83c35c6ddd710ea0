SELECT count() FROM {database}.minute_rows WHERE toDate(minute) = {day:Date} AND job_type != ''
    AND (minute, computed_at) IN (SELECT minute, version FROM {database}.minute_versions)
