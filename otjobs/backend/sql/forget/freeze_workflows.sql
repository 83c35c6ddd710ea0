-- A mark of a day before all days: what the workflow was made of is not all there any more. Rows that may be out of
-- date are no figures yet, and are computed from what is left.
INSERT INTO {database}.workflow_marks
SELECT toDate('1970-01-01'), workflow_id, toDateTime(3600, 'UTC'), toDateTime(3600, 'UTC'), toDateTime64(0, 3, 'UTC')
FROM {database}.forget_workflows
WHERE NOT whole AND workflow_id NOT IN (SELECT workflow_id FROM {database}.dirty_workflows)
SETTINGS insert_deduplicate = 0
