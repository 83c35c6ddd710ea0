-- The day's failed publications of the shadow; those that are there already merge with them (ReplacingMergeTree).
INSERT INTO {database}.dispatch_failures SELECT * FROM {database}.rebuild_dispatch_failures
    WHERE toDate(minute) = toDate('{day}')
SETTINGS insert_deduplicate = 0
