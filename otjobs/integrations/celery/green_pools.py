"""Celery's gevent and eventlet pools under `opentelemetry-instrument`.

These pools replace the standard library's sockets, threads and locks. Celery's command does so first of all; under the
launcher the SDK and the instrumentors are earlier still. An SDK that has started its threads and locks before mixes
threads of the operating system with green ones, which may block the pool's main loop for good, and a worker whose
Celery was imported before takes jobs and never runs them. So the launcher makes `distro` the OpenTelemetry distro of
such a worker: the first code that runs in it, which patches and then gives way to the distro that is really meant.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import entry_points
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from opentelemetry.instrumentation.distro import BaseDistro, DefaultDistro
from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_DISTRO

from otjobs.faults import guard

if TYPE_CHECKING:
    from collections.abc import Sequence

DISTRO: Final = "otjobs_green"
"""The name of `distro` in the group `opentelemetry_distro`."""
_MEANT: Final = "OTJOBS_GREEN_DISTRO"
"""The distro that the user chose, while `OTEL_PYTHON_DISTRO` names ours."""
_POOLS: Final = ("gevent", "eventlet")
_log = logging.getLogger("otjobs")
_patched = False


def green_pool(command: Sequence[str]) -> str:
    """Return the green pool that a command line of Celery asks for, '' for other pools and programs."""
    if "celery" not in {PurePath(part).name for part in command}:
        return ""
    for option, value in zip(command, [*command[1:], ""], strict=True):
        found = value if option in ("-P", "--pool") else option.removeprefix("--pool=")
        if found in _POOLS and found != option:
            return found
    return ""


def choose_distro(command: Sequence[str]) -> None:
    """Make `distro` the distro of the process that a launcher is about to become, where its pool is green."""
    if green_pool(command) and os.environ.get(OTEL_PYTHON_DISTRO) != DISTRO:
        os.environ[_MEANT] = os.environ.get(OTEL_PYTHON_DISTRO, "")
        os.environ[OTEL_PYTHON_DISTRO] = DISTRO


def distro() -> BaseDistro | None:
    """Replace what a green pool replaces, then return the distro that is really meant.

    Entry point of the group `opentelemetry_distro`. Where the group is merely searched and nobody chose this one, it
    returns None, which is no distro, so that the search goes on.
    """
    command = _command()
    with guard("a gevent or eventlet pool could not be prepared"):
        _patch(command)
    if os.environ.get(OTEL_PYTHON_DISTRO) != DISTRO:
        return None
    meant = os.environ.get(_MEANT, "")
    if not _starts_another(command):  # whatever this process starts, is none of ours
        del os.environ[OTEL_PYTHON_DISTRO]
        os.environ.pop(_MEANT, None)
        if meant:
            os.environ[OTEL_PYTHON_DISTRO] = meant
    for one in entry_points(group="opentelemetry_distro"):
        if one.name != DISTRO and meant in ("", one.name):
            found = one.load()()
            if isinstance(found, BaseDistro):
                return found
    return DefaultDistro()


def patch_early() -> None:
    """Replace what the pool replaces before any instrumentor is loaded.

    Only for programs that another launcher than `opentelemetry-instrument` started: `distro` is earlier.
    """
    with guard("a gevent or eventlet pool could not be prepared"):
        command = _command()
        pool = green_pool(command)
        if not pool or _patched or (pool == "gevent" and "gevent.monkey" in sys.modules):
            return
        _log.error(
            "otjobs: the SDK started before the %s pool of this worker, which may block it; set %s=%s",
            pool,
            OTEL_PYTHON_DISTRO,
            DISTRO,
        )
        if pool == "eventlet":
            _patch(command)


def _command() -> list[str]:
    return list(getattr(sys, "orig_argv", sys.argv))


def _patch(command: list[str]) -> None:
    global _patched  # noqa: PLW0603
    if green_pool(command) and not _patched:
        import celery

        celery.maybe_patch_concurrency(command)
        _patched = True


def _starts_another(command: Sequence[str]) -> bool:
    """Tell whether this process only starts the worker, which inherits its environment."""
    return not {"multi", "-D", "--detach"}.isdisjoint(command)
