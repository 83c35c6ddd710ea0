ALTER TABLE {database}.rebuild_{table} MODIFY SETTING non_replicated_deduplication_window = 0
