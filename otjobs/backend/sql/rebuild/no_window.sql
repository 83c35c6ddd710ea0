-- A shadow removes no repeated blocks: what was removed from it may be written again.
ALTER TABLE {database}.rebuild_{table} MODIFY SETTING non_replicated_deduplication_window = 0
