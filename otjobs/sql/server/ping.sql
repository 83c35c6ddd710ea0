-- Opens the folder and takes its lock.
SELECT 1
