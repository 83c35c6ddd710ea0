SELECT count() FROM {database}.minute_marks FINAL WHERE toDate(hour) = {day:Date}
