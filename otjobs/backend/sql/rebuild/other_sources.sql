-- Views that write to a table beside the one that reads the spans.
SELECT name FROM system.tables
WHERE database = {database:String} AND engine = 'MaterializedView' AND name != '{table}_mv'
    AND position(create_table_query, concat(' TO ', database, '.{table} ')) > 0
    AND name NOT IN (SELECT view FROM system.view_refreshes WHERE database = {database:String})
ORDER BY name
