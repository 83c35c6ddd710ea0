-- The server's time in unix milliseconds and its day in UTC: its clock decides, not that of whoever rebuilds.
SELECT toUnixTimestamp64Milli(now64(3)), toDate(now('UTC'))
