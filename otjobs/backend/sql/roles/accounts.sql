-- The accounts of otjobs: the one definition, applied by `otjobs migrate --roles` and rendered by `--roles-xml`.
-- Applying it again changes passwords and rights to what stands here.

-- account writer: appends spans, and can read nothing: the collector's
-- A batch may hold spans of any days; a refused one would come back forever.
CREATE SETTINGS PROFILE OR REPLACE otjobs_writer SETTINGS max_partitions_per_insert_block = 0;
CREATE USER IF NOT EXISTS otjobs_writer IDENTIFIED WITH sha256_hash BY '{writer_sha256}';
ALTER USER otjobs_writer IDENTIFIED WITH sha256_hash BY '{writer_sha256}' SETTINGS PROFILE otjobs_writer;
GRANT INSERT ON {database}.otel_traces TO otjobs_writer;

-- account reader: reads the views, changes nothing: Grafana's and yours
-- What Grafana's plugin sets with a query may be changed, the time limit only downwards (0 would be none); other
-- settings stay locked. Over shards, a view may be named inside a query on another.
CREATE SETTINGS PROFILE OR REPLACE otjobs_reader SETTINGS readonly = 1,
    max_execution_time = 120 MIN 1 MAX 120 CHANGEABLE_IN_READONLY,
    additional_table_filters CHANGEABLE_IN_READONLY, max_memory_usage = 8000000000, max_result_rows = 5000000,
    max_result_bytes = 2000000000,
    distributed_product_mode = 'global';
CREATE USER IF NOT EXISTS otjobs_reader IDENTIFIED WITH sha256_hash BY '{reader_sha256}';
ALTER USER otjobs_reader IDENTIFIED WITH sha256_hash BY '{reader_sha256}' SETTINGS PROFILE otjobs_reader;
GRANT SELECT ON {database}.jobs TO otjobs_reader;
GRANT SELECT ON {database}.open_jobs TO otjobs_reader;
GRANT SELECT ON {database}.attempts TO otjobs_reader;
GRANT SELECT ON {database}.workflows TO otjobs_reader;
GRANT SELECT ON {database}.queue_minutes TO otjobs_reader;
GRANT SELECT ON {database}.workflow_minutes TO otjobs_reader;
GRANT SELECT ON {database}.job_types TO otjobs_reader;
GRANT SELECT ON {database}.job_edges TO otjobs_reader;
GRANT SELECT ON {database}.pipeline_health TO otjobs_reader;
GRANT SELECT ON {database}.clock_skew TO otjobs_reader;
GRANT SELECT ON {database}.last_arrival TO otjobs_reader;
GRANT SELECT ON {database}.otel_traces TO otjobs_reader;
GRANT SELECT ON {database}.otel_traces_trace_id_ts TO otjobs_reader;
GRANT SELECT ON {database}.otjobs_migrations TO otjobs_reader;

-- account owner (file only: whoever applies this is one already): makes and changes the tables (`otjobs migrate`); the
--     views run with its rights, so it stays
-- TABLE ENGINE: newer servers ask for it. SYSTEM: what runs, so that a rebuild knows when inserts have ended.
GRANT ALL ON {database}.* TO otjobs_owner;
GRANT TABLE ENGINE ON * TO otjobs_owner;
GRANT SELECT ON system.processes TO otjobs_owner;
