-- One insert of spans, as the collector makes them: one block of some 20,000.
INSERT INTO {database}.otel_traces SELECT * FROM {blocks}.block
SETTINGS max_threads = 1, max_insert_threads = 1, max_block_size = 60000, max_insert_block_size = 60000,
    min_insert_block_size_rows = 60000, min_insert_block_size_bytes = 0, max_partitions_per_insert_block = 0
