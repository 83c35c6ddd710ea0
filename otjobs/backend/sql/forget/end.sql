-- What was collected goes last: an interrupted call can go on.
DROP TABLE {database}.forget_attempt_states SYNC;
DROP TABLE {database}.forget_workflows SYNC;
DROP TABLE IF EXISTS {database}.forget_erasing SYNC;
