"""Celery: `opentelemetry-instrument celery -A app worker`, or `CeleryInstrumentor().instrument()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from otjobs import providers
from otjobs.errors import guard
from otjobs.integrations import (
    celery_canvas,
    celery_done,
    celery_eager,
    celery_execute,
    celery_observe,
    celery_publish,
    celery_replace,
    celery_told,
    celery_unreadable,
    celery_worker,
)
from otjobs.integrations.celery_early import STOCK
from otjobs.integrations.late import Change, Late, Undo, wrap

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import ModuleType

_SIGNALS: tuple[tuple[str, Any], ...] = (
    ("before_task_publish", celery_publish.before_publish),
    ("task_prerun", celery_execute.prerun),
    ("task_postrun", celery_execute.postrun),
    ("task_received", celery_observe.received),
    ("worker_process_init", celery_worker.child_started),
    ("worker_process_shutdown", celery_worker.child_stops),
)


def _connect(signals: ModuleType) -> Undo:
    for signal, receiver in _SIGNALS:
        getattr(signals, signal).connect(receiver, weak=False, dispatch_uid=f"otjobs:{receiver.__name__}")

    def undo() -> None:
        for signal, receiver in _SIGNALS:
            getattr(signals, signal).disconnect(receiver, dispatch_uid=f"otjobs:{receiver.__name__}")

    return undo


CHANGES: dict[str, tuple[Change, ...]] = {
    STOCK.module: (STOCK.step_back,),
    "celery.signals": (_connect,),
    "celery.app.base": (wrap("Celery.send_task", celery_publish.send_task),),
    "celery.app.routes": (wrap("Router.route", celery_publish.routed),),
    "kombu.messaging": (wrap("Producer._publish", celery_publish.leaves),),
    "celery.app.task": (
        wrap("Task.apply", celery_eager.apply),
        wrap("Task.retry", celery_execute.retry),
        wrap("Task.on_replace", celery_replace.on_replace),
    ),
    "celery.beat": (wrap("Scheduler.apply_async", celery_publish.beat_apply_async),),
    "celery.backends.base": (wrap("Backend.chord_error_from_stack", celery_replace.chord_failed),),
    "celery.canvas": tuple(
        wrap(f"{canvas}.{call}", celery_canvas.composite_of(kind, eager=call == "apply"))
        for kind, canvas in (("group", "group"), ("chain", "_chain"), ("chord", "_chord"))
        for call in ("apply_async", "apply")
    ),
    "celery.worker.request": (
        wrap("Request.on_failure", celery_observe.on_failure),
        wrap("Request.on_timeout", celery_observe.on_timeout),
        wrap("Request._announce_revoked", celery_observe.announce_revoked),
        wrap("Request._announce_cancelled", celery_observe.announce_cancelled),
        wrap("Request._success_was_stored", celery_observe.success_was_stored),  # Celery 5.7
        wrap("Request.reject", celery_observe.reject),
    ),
    "celery.worker.consumer.consumer": (
        wrap("Consumer.on_unknown_task", celery_unreadable.unreadable),
        wrap("Consumer.on_invalid_task", celery_unreadable.unreadable),
        wrap("Consumer.on_decode_error", celery_unreadable.unreadable),
    ),
    "celery.worker.worker": (
        wrap("WorkController.start", celery_worker.without_own_spans),
        wrap("WorkController._shutdown", celery_worker.shutdown),
    ),
    "celery.concurrency.prefork": (wrap("TaskPool.on_start", celery_worker.pool_starts),),
    "celery.worker.strategy": (wrap("create_request_cls", celery_done.request_class),),
    "celery.concurrency.asynpool": (wrap("AsynPool.process_flush_queues", celery_done.child_gone),),
    "billiard.pool": (
        wrap("Pool.process_flush_queues", celery_done.child_gone),
        wrap("Worker.prepare_result", celery_told.prepare_result),
    ),
}
_changes = Late(CHANGES)


class CeleryInstrumentor(BaseInstrumentor):
    """Traces Celery producers, workers and beat; the stock Celery instrumentor steps back."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions this works with."""
        return ("celery >= 5.5, < 5.8",)

    def _instrument(self, **kwargs: Any) -> None:
        if kwargs.get("tracer_provider") is not None:
            providers.use_tracer_provider(kwargs["tracer_provider"])
        _changes.apply()
        with guard("the tracer could not be made ahead of the first job"):
            providers.tracer()  # so that the first request's spans are followed, too

    def _uninstrument(self, **_: Any) -> None:
        _changes.undo()
        providers.use_tracer_provider(None)
        with guard("the stock Celery instrumentation could not be restored"):
            STOCK.let_in()
