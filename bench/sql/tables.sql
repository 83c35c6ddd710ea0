-- The tables of a database that hold rows.
SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree'
