-- Ends what readers still run when the embedded server stops: all that the SQL port has marked.
KILL QUERY WHERE Settings['log_comment'] != '' ASYNC
