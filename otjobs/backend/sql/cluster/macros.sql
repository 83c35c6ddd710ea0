-- Which shard and replica the server says it is.
SELECT getMacro('shard'), getMacro('replica')
