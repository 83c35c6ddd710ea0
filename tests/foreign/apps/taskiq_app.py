"""A TaskIQ application under its own middleware: `taskiq worker taskiq_app:broker`, or run to publish."""

from __future__ import annotations

import asyncio
import os

from taskiq import Context, SimpleRetryMiddleware, TaskiqDepends, TaskiqEvents
from taskiq.middlewares.opentelemetry_middleware import OpenTelemetryMiddleware
from taskiq_redis import ListQueueBroker
from telling import provide, tell

provider = provide("taskiq-publish" if __name__ == "__main__" else "taskiq-work")
broker = ListQueueBroker(os.environ["APP_REDIS"]).with_middlewares(
    OpenTelemetryMiddleware(tracer_provider=provider), SimpleRetryMiddleware()
)
NO_CONTEXT = TaskiqDepends()


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def flush(_state) -> None:
    provider.shutdown()


async def send(task, *args, parent="", **labels):
    kicker = task.kicker().with_labels(**labels)
    job = broker.id_generator()
    tell("published", job, type=task.task_name, delay=0, parent=parent, queue="")
    await kicker.with_task_id(job).kiq(*args)


@broker.task(task_name="work")
async def work(fail: int, most: int, children: int, context: Context = NO_CONTEXT) -> None:
    """Fail the first `fail` attempts of `most`."""
    job = context.message.task_id
    attempt = int(context.message.labels.get("_retries", 0)) + 1
    tell("started", job, attempt=attempt)
    await asyncio.sleep(0.05)
    for _ in range(children):
        await send(child, parent=job)
    if attempt <= fail:
        tell("ended", job, attempt=attempt, outcome="retry" if attempt < most else "failure")
        raise ValueError("not yet")
    tell("ended", job, attempt=attempt, outcome="success")


@broker.task(task_name="child")
async def child(context: Context = NO_CONTEXT) -> None:
    tell("started", context.message.task_id, attempt=1)
    await asyncio.sleep(0.05)
    tell("ended", context.message.task_id, attempt=1, outcome="success")


async def publish() -> None:
    await broker.startup()
    for _ in range(20):
        await send(work, 0, 1, 0)
    for fail in (1, 1, 2, 3, 3):
        await send(work, fail, 3, 0, retry_on_error=True, max_retries=3)
    for _ in range(2):
        await send(work, 1, 1, 0)
    for _ in range(4):
        await send(work, 0, 1, 2)
    await broker.shutdown()
    provider.shutdown()


if __name__ == "__main__":
    asyncio.run(publish())
