-- Who said last to have the lease, and how many seconds ago.
SELECT argMax(value, set_at), dateDiff('millisecond', max(set_at), now64(6, 'UTC')) / 1000
FROM {database}.otjobs_settings WHERE name = {name:String} HAVING count() > 0
