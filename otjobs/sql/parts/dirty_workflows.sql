-- Workflows whose stored row may be out of date: spans of them arrived since it was made (up to the arrival {until}), or
-- the clock may change it. With the days and the hours their jobs are in.
SELECT workflow_id, min(day) AS first_day, groupUniqArray(day) AS days, min(first_hour) AS begins, max(last_hour) AS ends
FROM {database}.workflow_marks
WHERE workflow_id IN
(
    SELECT workflow_id FROM {database}.workflow_marks
    WHERE arrived > (SELECT settled FROM {database}.workflow_progress) AND arrived <= {until}
    UNION ALL
    SELECT workflow_id FROM {database}.workflow_rows WHERE pending
)
GROUP BY workflow_id
