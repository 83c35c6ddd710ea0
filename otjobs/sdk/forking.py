"""Exporters over HTTP in forked children: each child gets connections of its own.

Two processes that write into one connection mix their requests.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any, Final

from otjobs.faults import warn
from otjobs.sdk import exporters

if TYPE_CHECKING:
    from otjobs.sdk.patches import Patches

_providers: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def prepare(provider: object, patches: Patches) -> None:
    """Give the exporters of this provider connections of their own in every child that this process forks."""
    _providers.add(provider)
    patches.on_undo(lambda: _providers.discard(provider))


def _after_fork() -> None:
    try:
        for provider in list(_providers):
            for exporter in exporters.exporters(provider):
                exporters.give_own_connections(exporter)
    except Exception as error:
        warn("a forked child shares its parent's connections to the collector", repr(error))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
