-- The hosts of a cluster, one for each shard and replica.
SELECT host_name FROM system.clusters WHERE cluster = {cluster:String} ORDER BY shard_num, replica_num
