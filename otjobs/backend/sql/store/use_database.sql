-- Makes the database the current one of a chDB handle.
USE {database}
