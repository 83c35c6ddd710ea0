"""What runs beside the services: the database's client and schema, the embedded server, the command, the demo.

Nothing that runs inside a service imports from here.
"""

from __future__ import annotations
