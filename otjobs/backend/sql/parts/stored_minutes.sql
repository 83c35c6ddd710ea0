-- The newest version of every stored minute but those that the expression {dirty} lists. One look at the table finds
-- rows and versions, so that a version that appears meanwhile hides nothing.
SELECT * EXCEPT version
FROM (SELECT *, max(computed_at) OVER (PARTITION BY minute) AS version FROM {database}.minute_rows)
WHERE computed_at = version AND minute NOT IN (SELECT arrayJoin({dirty}))
