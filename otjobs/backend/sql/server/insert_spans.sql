-- Appends spans to the landing table from a Native block that chDB reads by a path: its streams do not say what failed.
-- Not asynchronous: when the statement returns the part is written, which is what a sender's acknowledgement means.
-- No limit on partitions per block: a batch may hold spans of any days, and a refused batch would come back forever.
INSERT INTO otjobs.otel_traces ({columns})
FROM INFILE {path} COMPRESSION 'none'
SETTINGS async_insert = 0, max_partitions_per_insert_block = 0, throw_on_max_partitions_per_insert_block = 0
FORMAT Native
