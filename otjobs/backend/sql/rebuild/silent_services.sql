-- Services none of whose spans is stored any more keep their clock.
INSERT INTO {database}.rebuild_service_clock SELECT service, max(newest) FROM {database}.service_clock
WHERE service NOT IN (SELECT service FROM {database}.rebuild_service_clock) GROUP BY service
SETTINGS insert_deduplicate = 0
