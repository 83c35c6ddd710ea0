"""Celery's main worker process: what it alone sees (killed, expired, revoked jobs) and when spans must leave."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import suppress_instrumentation

from otjobs import job as jobs
from otjobs import lifecycle, providers, spans
from otjobs.config import settings
from otjobs.errors import guard
from otjobs.integrations import celery_execute
from otjobs.integrations.celery_publish import RECEIVED

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("otjobs")


class _Observed:
    """An attempt whose end the main process reports: it is current while Celery handles that end."""

    __slots__ = ("execution", "requeued")

    def __init__(self, execution: spans.Execution) -> None:
        self.execution = execution
        self.requeued = False


_observing: ContextVar[_Observed | None] = ContextVar("otjobs-celery-observing", default=None)
_reported: dict[int, str] = {}
"""Requests whose end was reported, by identity: id of the request object -> job id."""


def received(request: Any = None, **_: Any) -> None:
    """Note when the main process took the message, for the process that runs it (signal `task_received`)."""
    with guard("a reception could not be noted"):
        request.request_dict[RECEIVED] = jobs.now()


def on_failure(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report an attempt whose process died (wrapper of `Request.on_failure`)."""
    ended_by_itself = kwargs.get("return_ok", args[2] if len(args) > 2 else False)
    if ended_by_itself:
        return wrapped(*args, **kwargs)
    return _observe(
        request, "lost", _reason(args[0] if args else kwargs.get("exc_info")), lambda: wrapped(*args, **kwargs)
    )


def on_timeout(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report an attempt that the hard time limit ends (wrapper of `Request.on_timeout`)."""
    soft = args[0] if args else kwargs.get("soft")
    if soft:
        return wrapped(*args, **kwargs)
    return _observe(request, "failure", "TimeLimitExceeded", lambda: wrapped(*args, **kwargs))


def announce_revoked(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report a revoked, expired or terminated job (wrapper of `Request._announce_revoked`)."""
    names = ("reason", "terminated", "signum", "expired")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    outcome = "expired" if given.get("expired") else "cancelled"
    reason = "" if outcome == "expired" else ("Terminated" if given.get("terminated") else "Revoked")
    observed = _observing.get()
    if observed is not None:
        observed.execution.set_outcome(outcome, error_type=reason)
        return wrapped(*args, **kwargs)
    return _observe(request, outcome, reason, lambda: wrapped(*args, **kwargs))


def reject(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Note that a killed attempt's message goes back to the queue (wrapper of `Request.reject`)."""
    observed = _observing.get()
    if observed is not None:
        observed.requeued = bool(kwargs.get("requeue", args[0] if args else False))
    return wrapped(*args, **kwargs)


def unknown(message: Any = None, exc: Any = None, name: str = "", id: str = "", **_: Any) -> None:  # noqa: A002
    """Report a job that no code is registered for (signal `task_unknown`)."""
    with guard("an unknown job could not be reported"):
        if settings().excludes(name):
            return
        carrier, job = celery_execute.read(_Message(message), name, id)
        spans.ended_elsewhere(
            job, carrier, "rejected", error_type=type(exc).__name__ if exc else "NotRegistered", dead_letter=True
        )


class _Message:
    """A broker message, seen like a task request."""

    def __init__(self, message: Any) -> None:
        self.headers = dict(message.headers or {})
        self.delivery_info = message.delivery_info or {}
        self.retries = self.headers.get("retries") or 0
        self.hostname = ""


def _observe(request: Any, outcome: str, reason: str, run: Callable[[], Any]) -> Any:
    """Run Celery's handling of an end inside the attempt's context, so that errbacks are its children; then report."""
    observed = None
    with guard("the end of a job could not be observed"):
        observed = _begin(request)
    if observed is None:
        return run()
    token = _observing.set(observed)
    try:
        return run()
    finally:
        _observing.reset(token)
        with guard("the end of a job could not be reported"):
            _finish(observed, request, outcome, reason)


def _begin(request: Any) -> _Observed | None:
    if _observing.get() is not None or settings().excludes(request.name) or _reported.get(id(request)) == request.id:
        return None
    if len(_reported) > 10_000:
        _reported.clear()
    _reported[id(request)] = request.id
    carrier, job = celery_execute.read(request, request.name, request.id)
    started = getattr(request, "time_start", None)
    started_at = int(started * 1e9) if started else None
    execution = spans.Execution(job, carrier, cpu=False, started_at=started_at, observed=started_at is not None)
    execution.activate()
    return _Observed(execution)


def _finish(observed: _Observed, request: Any, outcome: str, reason: str) -> None:
    execution = observed.execution
    said = execution.outcome or outcome
    if observed.requeued:
        said = "retry"
    if getattr(request, "time_start", None) is None:
        execution.outcome = ""
        execution.end(said, error_type=execution.error_type or reason, ended_at=execution.started_at)
        return
    execution.set_outcome(said, error_type=execution.error_type or reason, dead_letter=False)
    execution.end()


def _reason(exc_info: Any) -> str:
    error = getattr(exc_info, "exception", None)
    error = getattr(error, "exc", error)
    return type(error).__name__ if isinstance(error, BaseException) else "WorkerLostError"


def without_poll_spans(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Keep client instrumentations silent while the worker polls its broker (wrapper of `Consumer.start`).

    A task of a solo pool runs inside this loop; its execute span starts from a context of its own and is not silenced.
    """
    with suppress_instrumentation():
        return wrapped(*args, **kwargs)


def child_started(**_: Any) -> None:
    """Note that this is a pool child (signal `worker_process_init`)."""
    celery_execute.in_pool_child = True
    otel_context.attach(otel_context.Context())


def child_stops(**_: Any) -> None:
    """Send a pool child's last spans: it leaves through `os._exit` (signal `worker_process_shutdown`)."""
    lifecycle.flush()


def worker_stops(**_: Any) -> None:
    """Send the main process's last spans (signal `worker_shutdown`)."""
    lifecycle.flush()


def worker_starts(sender: Any = None, **_: Any) -> None:
    """Say so where a gRPC exporter meets a forking pool, which hangs the children (signal `worker_init`)."""
    with guard("the exporter could not be checked"):
        providers.tracer()
        pool = str(getattr(getattr(sender, "pool_cls", None), "__module__", getattr(sender, "pool_cls", "")))
        if "prefork" not in pool:
            return
        for processor in lifecycle.batch_processors(providers.provider()):
            batch = getattr(processor, "_batch_processor", processor)
            if "grpc" in type(getattr(batch, "_exporter", None)).__module__:
                _log.error(
                    "otjobs: spans are exported over gRPC, which hangs the forked children of Celery's prefork pool; "
                    "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf and an endpoint with port 4318"
                )
