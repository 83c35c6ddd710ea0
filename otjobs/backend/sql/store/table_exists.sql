SELECT count() FROM system.tables WHERE database = {name:String} AND name = {table:String}
