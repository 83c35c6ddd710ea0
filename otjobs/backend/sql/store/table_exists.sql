-- Whether the database has a table or view of that name.
SELECT count() FROM system.tables WHERE database = {name:String} AND name = {table:String}
