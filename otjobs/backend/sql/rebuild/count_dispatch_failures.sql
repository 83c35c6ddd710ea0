SELECT count() FROM {database}.dispatch_failures FINAL WHERE toDate(minute) = {day:Date}
