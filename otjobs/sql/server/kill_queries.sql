-- Ends what readers still run when the embedded server stops.
KILL QUERY WHERE query NOT ILIKE '%KILL QUERY%' ASYNC
