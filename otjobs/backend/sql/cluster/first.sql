-- What the views of every shard need of all shards: the clock of services, which says whether an attempt is lost. A
-- shard that is away lets time stand still for the services heard of there alone: fewer attempts are lost, and none too
-- many.
CREATE DATABASE IF NOT EXISTS {database} ENGINE = Atomic;
CREATE OR REPLACE TABLE {database}.service_clock (service String, newest DateTime64(9, 'UTC'))
ENGINE = Distributed('{cluster}', '{local}', 'service_clock')
SETTINGS skip_unavailable_shards = 1;
-- And what started lately, which says whether a job was overtaken.
CREATE OR REPLACE TABLE {database}.starts_lately (system String, queue String, earliest_ready_at DateTime64(9, 'UTC'))
ENGINE = Distributed('{cluster}', '{local}', 'starts_lately')
SETTINGS skip_unavailable_shards = 1;
