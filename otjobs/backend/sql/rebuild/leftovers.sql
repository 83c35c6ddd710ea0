SELECT name FROM system.tables WHERE database = {database:String} AND name IN {names:Array(String)} ORDER BY name
