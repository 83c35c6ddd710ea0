-- The syntax tree of one statement as JSON; refuses several statements and what JSON cannot hold.
SELECT parseQueryToJSON({statement:String})
