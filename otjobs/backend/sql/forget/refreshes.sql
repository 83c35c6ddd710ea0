-- The refreshes that are under way: they may have read what is being deleted, and write it afterwards.
SELECT toString(uuid), toString(last_refresh_time) FROM system.view_refreshes
WHERE database = {database:String} AND status = 'Running'
