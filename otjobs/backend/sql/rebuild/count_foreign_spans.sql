SELECT count() FROM {database}.foreign_spans
