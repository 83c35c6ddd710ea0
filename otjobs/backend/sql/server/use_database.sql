-- Makes a database the current one of a handle: a name that a client gave.
USE {database:Identifier}
