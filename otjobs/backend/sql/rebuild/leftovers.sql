-- Which shadows, and views that fill them, are there.
SELECT name FROM system.tables WHERE database = {database:String} AND name IN {names:Array(String)} ORDER BY name
