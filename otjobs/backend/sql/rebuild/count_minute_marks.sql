-- How many rows of `minute_marks` the day has; FINAL, so that rows which are not merged yet count once.
SELECT count() FROM {database}.minute_marks FINAL WHERE toDate(hour) = {day:Date}
