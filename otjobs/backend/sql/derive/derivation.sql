-- A materialized view as the database has it: its query, its definition and its columns.
SELECT as_select, create_table_query,
    (SELECT groupArray(name) FROM (SELECT name FROM system.columns WHERE database = {database:String}
        AND table = {view:String} ORDER BY position)) AS columns
FROM system.tables
WHERE database = {database:String} AND name = {view:String} AND engine = 'MaterializedView'
