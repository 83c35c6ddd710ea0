-- Atomic, because refreshable views and exchanges need it and chDB's own default database is none.
CREATE DATABASE IF NOT EXISTS {database} ENGINE = Atomic
