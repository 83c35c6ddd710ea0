-- The parts of a partition with their block numbers, oldest first: what was written when.
SELECT name, min_block_number, max_block_number FROM system.parts
WHERE database = {database:String} AND table = {table:String} AND partition = {partition:String} AND active
ORDER BY min_block_number
