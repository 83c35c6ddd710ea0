Timestamp >= toDateTime64('{start}', 9, 'UTC') AND Timestamp < toDateTime64('{end}', 9, 'UTC')
