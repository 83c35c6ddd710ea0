-- How many rows of `workflow_rows` the day has; FINAL, so that rows which are not merged yet count once.
SELECT count() FROM {database}.workflow_rows FINAL WHERE day = {day:Date} AND NOT deleted
