SELECT name FROM system.tables
WHERE database = {database:String} AND engine = 'MaterializedView' AND name != 'attempt_states_mv'
    AND position(create_table_query, concat(' TO ', database, '.attempt_states ')) > 0
    AND name NOT IN (SELECT view FROM system.view_refreshes WHERE database = {database:String})
ORDER BY name
