-- How many rows of `attempt_states` the day has; FINAL, so that rows which are not merged yet count once.
SELECT count() FROM {database}.attempt_states FINAL WHERE toDate(hour) = {day:Date}
