-- The names of all settings.
SELECT name FROM system.settings
