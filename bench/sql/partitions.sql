-- The partitions of a database's tables that hold rows.
SELECT DISTINCT table, partition_id FROM system.parts WHERE active AND database = {database:String}
    AND engine LIKE '%MergeTree' ORDER BY table, partition_id
