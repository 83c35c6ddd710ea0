"""Celery: `opentelemetry-instrument celery -A app worker`, or `CeleryInstrumentor().instrument()`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otjobs.integrations._base import Instrumentor, before_forks, connect, quietly, wrap
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

if TYPE_CHECKING:
    from otjobs.integrations.late import Change

_CHANGES: dict[str, tuple[Change, ...]] = {
    "celery.signals": (
        connect("before_task_publish", publish.before_publish),
        connect("task_prerun", execute.prerun),
        connect("task_postrun", execute.postrun),
        connect("task_received", main_process.received),
        connect("worker_process_init", worker.child_started),
        connect("worker_process_shutdown", worker.child_stops),
    ),
    "celery.app.base": (wrap("Celery.send_task", publish.send_task),),
    "celery.app.routes": (wrap("Router.route", publish.routed, often=True),),
    "kombu.messaging": (wrap("Producer._publish", publish.leaves, often=True),),
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
        wrap("WorkController.start", quietly),
        wrap("WorkController._shutdown", worker.shutdown),
    ),
    "celery.concurrency.prefork": (wrap("TaskPool.on_start", before_forks),),
    "celery.worker.strategy": (wrap("create_request_cls", unsent.request_class),),
    "celery.concurrency.asynpool": (wrap("AsynPool.process_flush_queues", unsent.child_gone),),
    "billiard.pool": (
        wrap("Pool.process_flush_queues", unsent.child_gone),
        wrap("Worker.prepare_result", reports.prepare_result),
    ),
}


class CeleryInstrumentor(Instrumentor):
    """Traces Celery producers, workers and beat; the stock Celery instrumentor steps back."""

    library = extra = "celery"
    versions = ("celery >= 5.5, < 5.8",)
    changes = _CHANGES
    stock = STOCK
