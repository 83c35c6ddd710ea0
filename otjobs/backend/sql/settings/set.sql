INSERT INTO {database}.otjobs_settings (name, value) VALUES ({name:String}, {value:String})
