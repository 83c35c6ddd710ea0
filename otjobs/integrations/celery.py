"""Celery: `opentelemetry-instrument celery -A app worker`, or `CeleryInstrumentor().instrument()`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import billiard.pool
import celery.app.base
import celery.app.task
import celery.beat
import celery.canvas
import celery.concurrency.asynpool
import celery.concurrency.prefork
import celery.worker.strategy
import celery.worker.worker
from celery import signals
from celery.worker.consumer.consumer import Consumer
from celery.worker.request import Request
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.instrumentation.utils import unwrap
from wrapt import wrap_function_wrapper

from otjobs import providers
from otjobs.integrations import (
    celery_canvas,
    celery_done,
    celery_eager,
    celery_execute,
    celery_observe,
    celery_publish,
    celery_worker,
)

if TYPE_CHECKING:
    from collections.abc import Collection

_log = logging.getLogger("otjobs")

_WRAPPED: tuple[tuple[Any, str, Any], ...] = (
    (celery.app.base.Celery, "send_task", celery_publish.send_task),
    (celery.app.task.Task, "apply", celery_eager.apply),
    (celery.app.task.Task, "retry", celery_execute.retry),
    (celery.app.task.Task, "on_replace", celery_canvas.on_replace),
    (celery.beat.Scheduler, "apply_async", celery_publish.beat_apply_async),
    *(
        (canvas, call, celery_canvas.composite_of(kind, eager=call == "apply"))
        for kind, canvas in (
            ("group", celery.canvas.group),
            ("chain", celery.canvas._chain),  # noqa: SLF001
            ("chord", celery.canvas._chord),  # noqa: SLF001
        )
        for call in ("apply_async", "apply")
    ),
    (Request, "on_failure", celery_observe.on_failure),
    (Request, "on_timeout", celery_observe.on_timeout),
    (Request, "_announce_revoked", celery_observe.announce_revoked),
    (Request, "_announce_cancelled", celery_observe.announce_cancelled),
    (Request, "_success_was_stored", celery_observe.success_was_stored),  # Celery 5.7
    (Request, "reject", celery_observe.reject),
    (Consumer, "on_unknown_task", celery_observe.unreadable),
    (Consumer, "on_invalid_task", celery_observe.unreadable),
    (Consumer, "on_decode_error", celery_observe.unreadable),
    (Consumer, "start", celery_worker.without_poll_spans),
    (celery.worker.worker.WorkController, "_shutdown", celery_worker.shutdown),
    (celery.concurrency.prefork.TaskPool, "on_start", celery_worker.pool_starts),
    (celery.worker.strategy, "create_request_cls", celery_done.request_class),
    (celery.concurrency.asynpool.AsynPool, "process_flush_queues", celery_done.child_gone),
    (billiard.pool.Pool, "process_flush_queues", celery_done.child_gone),
)
_SIGNALS: tuple[tuple[Any, Any], ...] = (
    (signals.before_task_publish, celery_publish.before_publish),
    (signals.task_prerun, celery_execute.prerun),
    (signals.task_postrun, celery_execute.postrun),
    (signals.task_received, celery_observe.received),
    (signals.worker_process_init, celery_worker.child_started),
    (signals.worker_process_shutdown, celery_worker.child_stops),
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
            if hasattr(owner, name):
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
