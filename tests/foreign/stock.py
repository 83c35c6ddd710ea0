"""Spans as other instrumentations send them, by hand: rows of the landing table."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

T = 1_790_000_000_000_000_000
S = 1_000_000_000
_ids = itertools.count(1)


def moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // S, UTC) + timedelta(microseconds=ns % S // 1000)


def new_id() -> str:
    return f"{next(_ids):016x}"


def span(
    kind,
    start,
    end,
    attributes,
    *,
    trace="a" * 32,
    span_id="",
    parent="",
    status="Unset",
    service="svc",
    links=(),
    events=(),
    scope="",
    name="",
):
    """A row; `start` and `end` in seconds after T, links as (trace id, span id), events as (name, attributes)."""
    begins = T + round(start * S)
    return (
        moment(begins),
        trace,
        span_id or new_id(),
        parent,
        "",
        name,
        kind,
        service,
        {"service.version": "1.4", "host.name": f"{service}-host"},
        scope,
        "",
        {key: str(value) for key, value in attributes.items()},
        T + round(end * S) - begins,
        status,
        "",
        [moment(begins)] * len(events),
        [name for name, _ in events],
        [dict(attributes) for _, attributes in events],
        [trace for trace, _ in links],
        [span_id for _, span_id in links],
        [""] * len(links),
        [{} for _ in links],
    )


def celery_send(job, start, *, task="mail.send", queue="mail", **more):
    return span(
        "Producer",
        start,
        start + 0.01,
        {
            "celery.action": "apply_async",
            "celery.task_name": task,
            "messaging.message.id": job,
            "messaging.destination": queue,
        },
        **more,
    )


def celery_run(
    job, start, end, *, task="mail.send", queue="mail", state="SUCCESS", retries=0, eta=None, error="", **more
):
    attributes = {
        "celery.action": "run",
        "celery.task_name": task,
        "celery.state": state,
        "messaging.message.id": job,
        "messaging.destination": queue,
        "celery.hostname": "gen1@publisher",
    }
    if retries:
        attributes["celery.retries"] = retries
    if eta is not None:
        attributes["celery.eta"] = moment(T + round(eta * S)).isoformat()
    if state == "RETRY":
        attributes["celery.retry.reason"] = f"Retry in 0.3s: {error}('no answer')"
    events = [("exception", {"exception.type": error})] if state == "FAILURE" else []
    return span(
        "Consumer", start, end, attributes, status="Error" if state == "FAILURE" else "Unset", events=events, **more
    )


def taskiq_send(job, start, *, task="images.resize", retries=0, labels=(), **more):
    attributes = {"taskiq.action": "send", "taskiq.task_name": task, "messaging.message.id": job, **dict(labels)}
    if retries:
        attributes["taskiq._retries"] = retries
    return span("Producer", start, start + 0.01, attributes, **more)


def taskiq_run(start, end, *, task="images.resize", counted=0, reason=None, error="", labels=(), **more):
    attributes = {"taskiq.action": "execute", "taskiq.task_name": task, **dict(labels)}
    if counted:
        attributes["taskiq._retries"] = counted
    if reason is not None:
        attributes["taskiq.retry.reason"] = reason
    events = [("exception", {"exception.type": error})] if error else []
    return span("Consumer", start, end, attributes, status="Error" if error else "Unset", events=events, **more)


def bull(kind, operation, start, end, *, queue="emails", job="", name="welcome", attempt=0, events=(), **more):
    attributes = {"bullmq.queue.name": queue, "bullmq.queue.operation": operation}
    if job:
        attributes |= {"bullmq.job.id": job, "bullmq.job.name": name}
    if attempt:
        attributes |= {"bullmq.job.attempts.made": attempt, "bullmq.worker.name": "worker-1"}
    return span(kind, start, end, attributes, events=[(event, {}) for event in events], **more)


def message(
    kind, operation, start, end, *, system="rabbitmq", queue="orders", message_id="", error="", more=None, **rest
):
    attributes = {
        "messaging.system": system,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
    }
    if message_id:
        attributes["messaging.message.id"] = message_id
    if error:
        attributes["error.type"] = error
    return span(kind, start, end, attributes | (more or {}), status="Error" if error else "Unset", **rest)


def look_again(store, seconds=40):
    """Let some seconds pass since everything arrived or was looked at, and the look at what has been quiet be taken."""
    earlier = ", ".join(f"{name} = {name} - toIntervalSecond({seconds})" for name in ("arrived", "looked"))
    store.command(f"ALTER TABLE foreign_spans UPDATE {earlier} WHERE 1 SETTINGS mutations_sync = 2")
    store.command("SYSTEM START VIEW foreign_attempts_again")
    for _ in range(2):  # one may be under way
        store.command("SYSTEM REFRESH VIEW foreign_attempts_again")
        store.command("SYSTEM WAIT VIEW foreign_attempts_again")
    store.command("SYSTEM STOP VIEW foreign_attempts_again")
