"""One file per queue library, all behind the protocol in `otjobs.integrations._base`."""

from __future__ import annotations
