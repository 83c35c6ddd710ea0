"""Celery's gevent and eventlet pools under `opentelemetry-instrument`.

These pools replace the standard library's sockets and locks, which must happen before Celery is imported; its command
does so first of all. Instrumentors load their libraries still earlier, and such a worker then takes jobs and never
runs them.
"""

from __future__ import annotations

import logging
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from otjobs.errors import guard

if TYPE_CHECKING:
    from collections.abc import Sequence

GEVENT_PATCH: Final = "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH"
_POOLS: Final = ("gevent", "eventlet")
_log = logging.getLogger("otjobs")


def green_pool(command: Sequence[str]) -> str:
    """Return the green pool that a command line of Celery asks for, '' for other pools and programs."""
    if "celery" not in {PurePath(part).name for part in command}:
        return ""
    for option, value in zip(command, [*command[1:], ""], strict=True):
        found = value if option in ("-P", "--pool") else option.removeprefix("--pool=")
        if found in _POOLS and found != option:
            return found
    return ""


def patch_early() -> None:
    """Replace what the pool replaces, before any instrumentor is loaded.

    gevent cannot be that late, when the SDK's threads run: `celery_launch` has asked for it before the SDK.
    """
    with guard("a gevent or eventlet pool could not be prepared"):
        command = list(getattr(sys, "orig_argv", sys.argv))
        pool = green_pool(command)
        if pool == "eventlet":
            import celery

            celery.maybe_patch_concurrency(command)
        elif pool == "gevent" and "gevent.monkey" not in sys.modules:
            _log.error(
                "otjobs: a traced gevent pool never runs its jobs unless gevent is loaded first; set %s=patch_all",
                GEVENT_PATCH,
            )
