"""Celery: `opentelemetry-instrument celery -A app worker`, or `CeleryInstrumentor().instrument()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from otjobs import tracing
from otjobs.faults import guard
from otjobs.integrations.celery import (
    canvases,
    eager,
    execute,
    main_process,
    publish,
    refused,
    replace,
    reports,
    unsent,
    worker,
)
from otjobs.integrations.celery.early import STOCK
from otjobs.integrations.late import Change, Late, Undo, wrap

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import ModuleType

_SIGNALS: tuple[tuple[str, Any], ...] = (
    ("before_task_publish", publish.before_publish),
    ("task_prerun", execute.prerun),
    ("task_postrun", execute.postrun),
    ("task_received", main_process.received),
    ("worker_process_init", worker.child_started),
    ("worker_process_shutdown", worker.child_stops),
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
    "celery.app.base": (wrap("Celery.send_task", publish.send_task),),
    "celery.app.routes": (wrap("Router.route", publish.routed),),
    "kombu.messaging": (wrap("Producer._publish", publish.leaves),),
    "celery.app.task": (
        wrap("Task.apply", eager.apply),
        wrap("Task.retry", execute.retry),
        wrap("Task.on_replace", replace.on_replace),
    ),
    "celery.beat": (wrap("Scheduler.apply_async", publish.beat_apply_async),),
    "celery.backends.base": (wrap("Backend.chord_error_from_stack", replace.chord_failed),),
    "celery.canvas": tuple(
        wrap(f"{name}.{call}", canvases.composite_of(kind, eager=call == "apply"))
        for kind, name in (("group", "group"), ("chain", "_chain"), ("chord", "_chord"))
        for call in ("apply_async", "apply")
    ),
    "celery.worker.request": (
        wrap("Request.on_failure", main_process.on_failure),
        wrap("Request.on_timeout", main_process.on_timeout),
        wrap("Request._announce_revoked", main_process.announce_revoked),
        wrap("Request._announce_cancelled", main_process.announce_cancelled),
        wrap("Request._success_was_stored", main_process.success_was_stored),  # Celery 5.7
        wrap("Request.reject", main_process.reject),
    ),
    "celery.worker.consumer.consumer": (
        wrap("Consumer.on_unknown_task", refused.unreadable),
        wrap("Consumer.on_invalid_task", refused.unreadable),
        wrap("Consumer.on_decode_error", refused.unreadable),
    ),
    "celery.worker.worker": (
        wrap("WorkController.start", worker.without_own_spans),
        wrap("WorkController._shutdown", worker.shutdown),
    ),
    "celery.concurrency.prefork": (wrap("TaskPool.on_start", worker.pool_starts),),
    "celery.worker.strategy": (wrap("create_request_cls", unsent.request_class),),
    "celery.concurrency.asynpool": (wrap("AsynPool.process_flush_queues", unsent.child_gone),),
    "billiard.pool": (
        wrap("Pool.process_flush_queues", unsent.child_gone),
        wrap("Worker.prepare_result", reports.prepare_result),
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
            tracing.use_tracer_provider(kwargs["tracer_provider"])
        _changes.apply()
        with guard("the tracer could not be made ahead of the first job"):
            tracing.tracer()  # so that the first request's spans are followed, too

    def _uninstrument(self, **_: Any) -> None:
        _changes.undo()
        tracing.use_tracer_provider(None)
        with guard("the stock Celery instrumentation could not be restored"):
            STOCK.let_in()
