"""The functions that RQ runs in these tests."""

from __future__ import annotations

import os
import signal
import time

from redis import Redis
from rq import Queue, Retry, get_current_job


class Broken(Exception):
    pass


def add(*numbers):
    return sum(numbers)


def nap(seconds):
    time.sleep(seconds)


def fail():
    raise Broken("boom")


def own_queue(name="main"):
    return Queue(name, connection=Redis.from_url(os.environ["RQ_TEST_URL"]))


def send(*_):
    Queue("main", connection=get_current_job().connection).enqueue(add, 1)


def callback(job, connection, *_):
    Queue("main", connection=connection).enqueue(add, 1)


def broken_callback(job, connection, *_):
    raise KeyError("of the callback")


def return_retry(times, most):
    if (get_current_job().number_of_retries or 0) < times:
        return Retry(max=most)
    return "done"


def overwrite_meta():
    job = get_current_job()
    first = not job.meta
    job.meta = {"mine": 1}
    job.save_meta()
    if first:
        raise Broken("again")


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def enqueue_again():
    job = get_current_job()
    Queue("main", connection=job.connection).enqueue(add, 2, meta=job.meta, job_id="child")


def touch_redis():
    get_current_job().connection.set("touched", 1)


def cancel_itself():
    get_current_job().cancel()


def _die_once():
    if own_queue().connection.set("died", 1, nx=True):
        die()
    return 1


class OnceDeadly:
    """The process that unpickles it first is killed, as by an argument that needs too much memory."""

    def __reduce__(self):
        return _die_once, ()
