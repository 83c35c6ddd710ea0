-- Writes a setting: a new row each time, of which the newest counts.
INSERT INTO {database}.otjobs_settings (name, value) VALUES ({name:String}, {value:String})
