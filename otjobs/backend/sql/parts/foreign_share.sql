-- One share of the spans of other instrumentations, as a table: whole traces, so that what is paired stays together.
(SELECT * FROM {database}.foreign_spans WHERE cityHash64(workflow_id) % {shares} = {share})
