-- How many rows of `dispatch_failures` the day has; FINAL, so that rows which are not merged yet count once.
SELECT count() FROM {database}.dispatch_failures FINAL WHERE toDate(minute) = {day:Date}
