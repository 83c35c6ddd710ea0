"""Celery: `opentelemetry-instrument celery -A app worker`, or `CeleryInstrumentor().instrument()`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import celery.app.base
import celery.app.task
import celery.beat
import celery.canvas
import celery.worker.consumer.consumer
import celery.worker.request
from celery import signals
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.instrumentation.utils import unwrap
from wrapt import wrap_function_wrapper

from otjobs import providers
from otjobs.integrations import celery_execute, celery_publish, celery_worker

if TYPE_CHECKING:
    from collections.abc import Collection

_log = logging.getLogger("otjobs")

_WRAPPED: tuple[tuple[Any, str, Any], ...] = (
    (celery.app.base.Celery, "send_task", celery_publish.send_task),
    (celery.app.task.Task, "apply", celery_publish.apply),
    (celery.beat.Scheduler, "apply_async", celery_publish.beat_apply_async),
    (celery.canvas.group, "apply_async", celery_publish.composite_of("group")),
    (celery.canvas._chain, "apply_async", celery_publish.composite_of("chain")),  # noqa: SLF001
    (celery.canvas._chord, "apply_async", celery_publish.composite_of("chord")),  # noqa: SLF001
    (celery.worker.request.Request, "on_failure", celery_worker.on_failure),
    (celery.worker.request.Request, "on_timeout", celery_worker.on_timeout),
    (celery.worker.request.Request, "_announce_revoked", celery_worker.announce_revoked),
    (celery.worker.request.Request, "reject", celery_worker.reject),
    (celery.worker.consumer.consumer.Consumer, "start", celery_worker.without_poll_spans),
)
_SIGNALS: tuple[tuple[Any, Any], ...] = (
    (signals.before_task_publish, celery_publish.before_publish),
    (signals.task_prerun, celery_execute.prerun),
    (signals.task_postrun, celery_execute.postrun),
    (signals.task_received, celery_worker.received),
    (signals.task_unknown, celery_worker.unknown),
    (signals.worker_process_init, celery_worker.child_started),
    (signals.worker_process_shutdown, celery_worker.child_stops),
    (signals.worker_init, celery_worker.worker_starts),
    (signals.worker_shutdown, celery_worker.worker_stops),
)


class CeleryInstrumentor(BaseInstrumentor):
    """Traces Celery producers, workers and beat; the stock Celery instrumentor steps back."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions this works with."""
        return ("celery >= 5.5, < 5.8",)

    def _instrument(self, **kwargs: Any) -> None:
        if kwargs.get("tracer_provider") is not None:
            providers.use_tracer_provider(kwargs["tracer_provider"])
        _step_back()
        for owner, name, wrapper in _WRAPPED:
            wrap_function_wrapper(owner, name, wrapper)
        for signal, receiver in _SIGNALS:
            signal.connect(receiver, weak=False, dispatch_uid=f"otjobs:{receiver.__name__}")

    def _uninstrument(self, **_: Any) -> None:
        for owner, name, _ in _WRAPPED:
            unwrap(owner, name)
        for signal, receiver in _SIGNALS:
            signal.disconnect(receiver, dispatch_uid=f"otjobs:{receiver.__name__}")
        if _stock_instrument is not None:
            stock = _stock()
            if stock is not None:
                stock._instrument = _stock_instrument  # noqa: SLF001
        providers.use_tracer_provider(None)


_stock_instrument: Any = None


def _stock() -> Any:
    try:
        from opentelemetry.instrumentation.celery import CeleryInstrumentor as Stock
    except ImportError:
        return None
    return Stock


def _step_back() -> None:
    """Make the stock Celery instrumentor step back, whichever of the two is loaded first."""
    global _stock_instrument  # noqa: PLW0603
    stock = _stock()
    if stock is None:
        return
    message = "otjobs traces Celery; opentelemetry-instrumentation-celery steps back, so that no job is traced twice"
    if stock().is_instrumented_by_opentelemetry:
        stock().uninstrument()
        _log.info(message)
    if _stock_instrument is None:
        _stock_instrument = stock._instrument  # noqa: SLF001

    def nothing(*_: Any, **__: Any) -> None:
        _log.info(message)

    stock._instrument = nothing  # noqa: SLF001
