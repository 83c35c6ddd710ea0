(SELECT * FROM {database}.foreign_spans WHERE cityHash64(workflow_id) % {shares} = {share})
