-- Leaves a handle with the rights of a reader alone.
SET ROLE reader
