SELECT toUnixTimestamp64Milli(now64(3)), toUnixTimestamp(now()), toDate(now('UTC'))
