-- What the copy was given since the swaps began, once more: states are idempotent.
INSERT INTO {database}.{table} SELECT * FROM {database}.rebuild_{table}
WHERE _part IN (SELECT name FROM system.parts WHERE database = '{database}' AND table = 'rebuild_{table}' AND active
    AND modification_time >= toDateTime({since}))
SETTINGS insert_deduplicate = 0, max_partitions_per_insert_block = 0
