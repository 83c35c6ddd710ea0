"""Celery's worker processes: when their spans must leave."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context

from otjobs.faults import guard
from otjobs.integrations._base import identity_of
from otjobs.integrations.celery import execute, main_process
from otjobs.sdk import lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable


def child_started(**_: Any) -> None:
    """Note that this is a pool child (signal `worker_process_init`; a solo pool sends it in the main process, too)."""
    with guard("a pool child could not be prepared"):
        billiard = sys.modules.get("billiard.process")
        if billiard is None or billiard.current_process().name == "MainProcess":
            return
        execute.in_pool_child = True
        _come_last()
        # A child forked by the consumer's loop inherits its silence.
        otel_context.attach(otel_context.Context())


def _come_last() -> None:
    """Let the application's receivers run before ours, which may wait: a hard time limit leaves a child 0.1 s."""
    stops = sys.modules["celery.signals"].worker_process_shutdown
    uid = identity_of(child_stops)
    if stops.disconnect(child_stops, dispatch_uid=uid):
        stops.connect(child_stops, weak=False, dispatch_uid=uid)


def child_stops(**_: Any) -> None:
    """Send a pool child's last spans: it leaves through `os._exit` (signal `worker_process_shutdown`)."""
    lifecycle.finish()


def shutdown(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report what the end of the worker leaves unfinished, and send it (wrapper of `WorkController._shutdown`)."""
    pid = os.getpid()
    try:
        return wrapped(*args, **kwargs)
    finally:
        with guard("the worker's last spans could not be sent"):
            if os.getpid() == pid:
                main_process.unfinished()
                lifecycle.flush_last()
