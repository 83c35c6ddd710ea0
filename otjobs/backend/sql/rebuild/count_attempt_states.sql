SELECT count() FROM {database}.attempt_states FINAL WHERE toDate(hour) = {day:Date}
