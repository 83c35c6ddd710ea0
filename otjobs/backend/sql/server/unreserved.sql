-- Bytes of the disk that are free and that no merge has reserved for itself.
SELECT unreserved_space FROM system.disks WHERE name = 'default'
