-- Whether there is a database of that name.
SELECT count() FROM system.databases WHERE name = {name:String}
