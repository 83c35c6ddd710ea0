"""A Celery application that knows nothing of tracing, whose jobs end badly, and that logs what really happened.

Every process appends lines of JSON to `$YARD_LOG`: what, job, attempt, unix ns, pid.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time

from celery import Celery

app = Celery("yard", broker=os.environ["YARD_BROKER"], backend=os.environ["YARD_BROKER"])
app.conf.update(
    task_default_queue=os.environ.get("YARD_QUEUE", "yard"),
    broker_connection_retry_on_startup=True,
    worker_pool_restarts=True,
    result_backend_transport_options={"global_keyprefix": os.environ.get("YARD_QUEUE", "yard")},
    broker_transport_options={"visibility_timeout": 3600},
    **{"worker_prefetch_multiplier": 1, **json.loads(os.environ.get("YARD_CONF", "{}"))},
)


if os.environ.get("YARD_SABOTAGE"):  # every hook of the tracing fails: what does that cost a job?
    from otjobs.dispatch import Dispatch
    from otjobs.execution import Execution
    from otjobs.integrations._base import Message
    from otjobs.integrations.celery import main_process, replace, unsent
    from otjobs.sdk import lifecycle

    def broken(*_args, **_kwargs):
        raise RuntimeError("sabotaged")

    Execution.__init__ = Dispatch.__init__ = replace.ended_elsewhere = unsent.ended_elsewhere = broken
    lifecycle.flush = lifecycle.flush_last = main_process._report = Message.attempt = broken


if os.environ.get("YARD_TRACE_IDS"):  # as docs/howto/celery-workers.md shows it
    import logging

    from opentelemetry import trace

    make_record = logging.getLogRecordFactory()

    def with_trace(*args, **kwargs):
        record = make_record(*args, **kwargs)
        context = trace.get_current_span().get_span_context()
        record.trace_id, record.span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        return record

    logging.setLogRecordFactory(with_trace)


def log(what, job="", attempt=0, **more):
    line = json.dumps({"what": what, "job": job, "attempt": attempt, "at": time.time_ns(), "pid": os.getpid(), **more})
    with open(os.environ["YARD_LOG"], "a", encoding="utf-8") as out:
        out.write(line + "\n")


def started(task):
    log("started", task.request.id, task.request.retries + 1, redelivered=task.request.delivery_info.get("redelivered"))


def task(**options):
    def decorate(function):
        return app.task(name=f"yard.{function.__name__}", bind=True, **options)(function)

    return decorate


def again(job):
    """Tell whether this job has started before, in whatever process."""
    with open(os.environ["YARD_LOG"], encoding="utf-8") as lines:
        return sum(1 for line in lines if f'"started", "job": "{job}"' in line) > 1


@task()
def quick(self):
    started(self)
    log("ended", self.request.id, 1)


@task()
def sleepy(self, seconds):
    started(self)
    time.sleep(seconds)
    log("ended", self.request.id, 1)


@task()
def spin(self, seconds):
    started(self)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))
    log("ended", self.request.id, 1)


@task()
def boom(self):
    started(self)
    raise ValueError(self.request.id)


@task()
def hungry(self, megabytes):
    started(self)
    food = bytearray(megabytes * 1024 * 1024)
    log("ended", self.request.id, 1, size=len(food))


@task()
def exits(self, before=0.0):
    started(self)
    time.sleep(before)
    os._exit(1)


@task()
def killed(self):
    started(self)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(30)


@task()
def leaves(self):
    started(self)
    sys.exit(3)


@task(time_limit=1)
def overtime(self, seconds=30):
    started(self)
    quick.apply_async(task_id=f"child-of-{self.request.id}")
    time.sleep(seconds)


@task(time_limit=1, acks_late=True, acks_on_failure_or_timeout=False)
def overtime_again(self):
    started(self)
    if not again(self.request.id):
        time.sleep(30)
    log("ended", self.request.id, 2)


@task(acks_late=True, reject_on_worker_lost=True)
def exits_once(self):
    started(self)
    if not again(self.request.id):
        os._exit(1)
    log("ended", self.request.id, 2)


@task(acks_late=True, acks_on_failure_or_timeout=False)
def exits_for_good(self):
    started(self)
    os._exit(1)


@task(retry_on_worker_lost=True, max_retries=2, default_retry_delay=0)
def exits_and_retries(self):
    started(self)
    if self.request.retries == 0:
        os._exit(1)
    log("ended", self.request.id, 2)


@task(acks_late=True)
def sleepy_late(self, seconds):
    started(self)
    time.sleep(seconds)
    log("ended", self.request.id, 1)


@app.task(name="yard.complain")
def complain(job):
    log("complained", job)


@task()
def total(self, results):
    started(self)


@task(rate_limit="4/s")
def slowly(self):
    started(self)
    log("ended", self.request.id, 1)


@task()
def looks_up(self):
    """Use Redis from inside a job, so that a client instrumentation has something to show."""
    import redis

    started(self)
    redis.Redis.from_url(os.environ["YARD_BROKER"]).get(f"key-of-{self.request.id}")
    log("ended", self.request.id, 1)


def _dispatch_from_child(job):
    quick.apply_async(task_id=f"forked-by-{job}")


@task()
def forks(self):
    """Dispatch from a multiprocessing child of the pool child."""
    started(self)
    multiprocessing.current_process()._config["daemon"] = False
    child = multiprocessing.get_context("fork").Process(target=_dispatch_from_child, args=(self.request.id,))
    child.start()
    child.join(20)
    log("ended", self.request.id, 1, exitcode=child.exitcode)


@task()
def says(self):
    """Log through the task logger."""
    from celery.utils.log import get_task_logger

    started(self)
    get_task_logger("yard").warning("said by %s", self.request.id)
    log("ended", self.request.id, 1)


@task()
def counts(self):
    """Count something with a metric of the application's own."""
    from opentelemetry import metrics

    started(self)
    metrics.get_meter("yard").create_counter("yard.counted").add(1)
    time.sleep(0.5)
    log("ended", self.request.id, 1)


@task()
def loaded(self, packages):
    """Say which modules of these packages this process has loaded."""
    found = sorted(name for name in list(sys.modules) if name.partition(".")[0] in packages)
    log("loaded", self.request.id, 1, modules=found)
