SELECT toUnixTimestamp64Milli(now64(3)), toDate(now('UTC'))
