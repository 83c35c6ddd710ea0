SELECT count() FROM {database}.workflow_marks FINAL WHERE day = {day:Date}
