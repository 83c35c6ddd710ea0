-- How many spans of other instrumentations are kept by trace.
SELECT count() FROM {database}.foreign_spans
