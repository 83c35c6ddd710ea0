"""Celery on Redis."""

from __future__ import annotations

import os
import time

from application import jobs
from application.library import Library
from celery import Celery, chain, current_task, group

app = Celery("scenarios", broker=os.environ.get("APP_BROKER", "memory://"), set_as_current="APP_LIBRARY" in os.environ)
app.conf.update(
    result_backend=os.environ.get("APP_BROKER"),
    task_default_queue="main",
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=1,
    broker_transport_options={
        "polling_interval": 0.05,
        "visibility_timeout": int(os.environ.get("APP_VISIBILITY", "3600")),
    },
    result_expires=600,
    beat_schedule_filename=f"{os.environ.get('APP_LOG', '')}.schedule",
)
if "APP_SCHEDULE" in os.environ:
    entry, job = os.environ["APP_SCHEDULE"].split("=")
    app.conf.beat_schedule = {entry: {"task": f"application.jobs.{job}", "schedule": 1.0, "args": [1]}}
AGAIN = ("die_at_first", "nap_at_first")
"""Acknowledged late, so that a dead process's message goes back."""


def register(name):
    def run(task, *args, retries=0, backoff=0.0):
        try:
            return getattr(jobs, name)(*args)
        except jobs.Broken as error:
            if retries:
                raise task.retry(exc=error, countdown=backoff, max_retries=retries)
            raise

    late = {"acks_late": True, "reject_on_worker_lost": True} if name in AGAIN else {}
    app.task(run, bind=True, name=f"application.jobs.{name}", throws=(jobs.Expected,), **late)


for function in jobs.NAMES:
    register(function)


class CeleryLibrary(Library):
    system = "celery"
    kinds = ("prefork", "threads", "solo", "gevent", "eventlet")
    cpu_kinds = ("prefork", "threads", "solo")
    timed_out = ("TimeLimitExceeded", True)
    died = "WorkerLostError"
    redelivers = True

    def worker(self, kind, name, queues):
        options = ["-P", kind, "-c", "2", "-n", f"{name}@%h", "-Q", ",".join(queues), "-l", "info"]
        return ["-m", "celery", "-A", "libraries.celery", "worker", *options, "--without-mingle", "--without-gossip"]

    def ready(self, output):
        return " ready." in output

    def scheduler(self):
        return ["-m", "celery", "-A", "libraries.celery", "beat", "-l", "info"]

    def environment(self, *, broker, forgetful=False):
        return {"APP_VISIBILITY": "2"} if forgetful else {}

    def forget(self, broker):
        time.sleep(2.2)  # Kombu before 5.7 looks for lost messages when it starts, and then rarely

    def current(self):
        return current_task.request.id or "" if current_task else ""

    def send(self, job, args, options):
        task, kwargs = app.tasks[f"application.jobs.{job}"], {}
        if options.retries:
            kwargs = {"retries": options.retries, "backoff": options.backoff}
        given = {
            "queue": options.queue,
            "countdown": options.delay,
            "expires": options.expires,
            "priority": options.priority,
            "time_limit": options.limit,
            "task_id": options.job_id or None,
            "link_error": app.signature(f"application.jobs.{options.on_failure}", immutable=True)
            if options.on_failure
            else None,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if options.inline:
            return task.apply(args, kwargs, **given).id
        if options.broker:
            with app.connection(options.broker) as connection:
                return task.apply_async(args, kwargs, connection=connection, retry=False, **given).id
        return task.apply_async(args, kwargs, **given).id

    def cancel(self, job_id):
        app.control.revoke(job_id)

    def stop(self, job_id):
        app.control.revoke(job_id, terminate=True, signal="SIGKILL")

    def group(self, members):
        return [result.id for result in group([self._signature(*one) for one in members]).apply_async()]

    def after(self, first, then):
        result = chain(self._signature(*first), self._signature(*then)).apply_async()
        return [result.parent.id, result.id]

    def _signature(self, job, args):
        return app.signature(f"application.jobs.{job}", args=args, immutable=True)


LIBRARY = CeleryLibrary()
