-- Whether a refreshable view is being refreshed.
SELECT countIf(status = 'Running') FROM system.view_refreshes WHERE database = {database:String}
    AND view = {view:String}
