-- Makes a database the current one of a handle.
USE {database:Identifier}
