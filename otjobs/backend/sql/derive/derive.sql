-- Nothing is skipped as a repetition: a block that was removed since may have looked the same.
INSERT INTO {database}.{target} ({columns})
SELECT {columns} FROM (SELECT *{replace} FROM ({query}) WHERE {where})
SETTINGS insert_deduplicate = 0, max_partitions_per_insert_block = 0,
    additional_table_filters = {'{database}.otel_traces': {landing_filter}}
