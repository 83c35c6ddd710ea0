"""A Celery application under the stock instrumentation: `celery_app.py work|publish`."""

from __future__ import annotations

import os
import sys
import time

from celery import Celery
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from telling import provide, tell

provider = provide(f"celery-{sys.argv[1]}")
CeleryInstrumentor().instrument(tracer_provider=provider)
app = Celery("stock", broker=os.environ["APP_REDIS"])
app.conf.update(worker_hijack_root_logger=False, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)


def told(task):
    """Log the publication of a job before it is sent."""

    def send(*args, **options):
        signature = task.s(*args)
        job = signature.freeze().id
        tell(
            "published",
            job,
            type=task.name,
            delay=options.get("countdown", 0),
            parent=options.pop("parent", ""),
            queue=options.get("queue", "celery"),
        )
        signature.apply_async(**options)

    return send


@app.task(bind=True, name="work", max_retries=2)
def work(self, seconds=0.05, fail=0, children=0):
    """Fail the first `fail` attempts; retried after half a second, twice at most."""
    attempt = self.request.retries + 1
    tell("started", self.request.id, attempt=attempt)
    time.sleep(seconds)
    for _ in range(children):
        told(child)(parent=self.request.id, queue="side")
    if attempt <= fail:
        problem = ValueError("not yet")
        tell("ended", self.request.id, attempt=attempt, outcome="retry" if attempt < 3 else "failure")
        raise self.retry(exc=problem, countdown=0.5)
    tell("ended", self.request.id, attempt=attempt, outcome="success")


@app.task(bind=True, name="child")
def child(self):
    tell("started", self.request.id, attempt=1)
    time.sleep(0.05)
    tell("ended", self.request.id, attempt=1, outcome="success")


def publish():
    for _ in range(20):
        told(work)()
    for fail in (1, 1, 2, 3, 3):
        told(work)(0.05, fail)
    for _ in range(5):
        told(work)(countdown=2)
    for _ in range(4):
        told(work)(0.05, 0, 2)


if __name__ == "__main__":
    if sys.argv[1] == "publish":
        publish()
    else:
        app.worker_main(
            ["worker", "--pool", "solo", "-Q", "celery,side", "--without-gossip", "--without-mingle", "-l", "warning"]
        )
    provider.shutdown()
