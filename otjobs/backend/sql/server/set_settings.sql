-- Changes settings of a handle; statement of the embedded SQL port, filled in by otjobs.backend.server.engine.
SET {changes}
