-- Workflows whose stored row may be out of date: spans of them arrived since it was made (up to the arrival {until}),
-- or the clock may change it. With the days and the hours their jobs are in.
SELECT workflow_id, min(day) AS first_day, groupUniqArray(day) AS days,
    -- Those of each day, which are few, however far apart the days are.
    groupUniqArrayArray(arrayMap(h -> toDateTime(h, 'UTC'),
        range(toUnixTimestamp(first_hour), toUnixTimestamp(last_hour) + 1, 3600))) AS hours
FROM {database}.workflow_marks
WHERE workflow_id IN
(
    SELECT workflow_id FROM {database}.workflow_marks
    WHERE arrived > (SELECT settled FROM {database}.workflow_progress) AND arrived <= {until}
    UNION ALL
    SELECT workflow_id FROM {database}.workflow_rows WHERE pending
)
GROUP BY workflow_id
-- Frozen once one of its jobs may be gone.
HAVING first_day >= toDate((SELECT jobs_kept_from FROM {database}.horizons))
