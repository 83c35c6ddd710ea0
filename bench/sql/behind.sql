-- How many stored rows are out of date.
SELECT (SELECT count() FROM dirty_workflows) + (SELECT count() FROM dirty_minutes)
