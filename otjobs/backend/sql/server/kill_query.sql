-- Ends one query of the embedded SQL port, which marks each with a name.
KILL QUERY WHERE Settings['log_comment'] = {mark:String} ASYNC
