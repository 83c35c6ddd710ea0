"""Celery: `opentelemetry-instrument celery -A app worker`, or `CeleryInstrumentor().instrument()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import billiard.pool
import celery.app.base
import celery.app.task
import celery.beat
import celery.canvas
import celery.concurrency.asynpool
import celery.concurrency.prefork
import celery.worker.strategy
from celery import signals
from celery.worker.consumer.consumer import Consumer
from celery.worker.request import Request
from celery.worker.worker import WorkController
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.instrumentation.utils import unwrap
from wrapt import wrap_function_wrapper

from otjobs import providers
from otjobs.errors import guard
from otjobs.integrations import (
    celery_canvas,
    celery_done,
    celery_eager,
    celery_execute,
    celery_observe,
    celery_publish,
    celery_unreadable,
    celery_worker,
)
from otjobs.integrations.stock import Stock

if TYPE_CHECKING:
    from collections.abc import Collection

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
    (Consumer, "on_unknown_task", celery_unreadable.unreadable),
    (Consumer, "on_invalid_task", celery_unreadable.unreadable),
    (Consumer, "on_decode_error", celery_unreadable.unreadable),
    (WorkController, "start", celery_worker.without_own_spans),
    (WorkController, "_shutdown", celery_worker.shutdown),
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

_stock = Stock("Celery", "opentelemetry.instrumentation.celery", "CeleryInstrumentor", entry_point="celery")


class CeleryInstrumentor(BaseInstrumentor):
    """Traces Celery producers, workers and beat; the stock Celery instrumentor steps back."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions this works with."""
        return ("celery >= 5.5, < 5.8",)

    def _instrument(self, **kwargs: Any) -> None:
        if kwargs.get("tracer_provider") is not None:
            providers.use_tracer_provider(kwargs["tracer_provider"])
        with guard("the stock Celery instrumentation could not be told to step back"):
            _stock.step_back()
        for owner, name, wrapper in _WRAPPED:
            if hasattr(owner, name):
                wrap_function_wrapper(owner, name, wrapper)
        for signal, receiver in _SIGNALS:
            signal.connect(receiver, weak=False, dispatch_uid=f"otjobs:{receiver.__name__}")
        with guard("the tracer could not be made ahead of the first job"):
            providers.tracer()  # so that the first request's spans are followed, too

    def _uninstrument(self, **_: Any) -> None:
        for owner, name, _ in _WRAPPED:
            unwrap(owner, name)
        for signal, receiver in _SIGNALS:
            signal.disconnect(receiver, dispatch_uid=f"otjobs:{receiver.__name__}")
        providers.use_tracer_provider(None)
        with guard("the stock Celery instrumentation could not be restored"):
            _stock.restore()
