SELECT count() FROM {database}.workflow_rows FINAL WHERE day = {day:Date} AND NOT deleted
