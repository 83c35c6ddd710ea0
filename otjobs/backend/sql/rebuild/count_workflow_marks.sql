-- How many rows of `workflow_marks` the day has; FINAL, so that rows which are not merged yet count once.
SELECT count() FROM {database}.workflow_marks FINAL WHERE day = {day:Date}
