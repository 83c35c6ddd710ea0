"""An application that knows nothing of tracing or of its queue library, and logs what really happens.

Every process appends JSON lines to `$APP_LOG`: `publishing` and `published` around each call of the library, `started`
and `ended` inside the jobs. The scenarios compare the spans with this log.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from application.library import Options


@functools.cache
def library():
    return importlib.import_module(f"libraries.{os.environ['APP_LIBRARY']}").LIBRARY


def log(what, **more):
    line = json.dumps({"what": what, "at": time.time_ns(), "pid": os.getpid(), **more})
    with open(os.environ["APP_LOG"], "a", encoding="utf-8") as out:
        out.write(line + "\n")


@contextmanager
def publishing(*sends):
    """Log that jobs are published; each is (job type, options); the block notes their ids."""
    by, began, ids = library().current(), time.time_ns(), []
    yield ids
    for (job, options), job_id in zip(sends, ids, strict=True):
        log("published", job=job_id, type=f"application.jobs.{job}", by=by, began=began, **asdict(options))


def send(job, *args, **options):
    options = Options(**options)
    with publishing((job, options)) as ids:
        ids.append(library().send(job, list(args), options))
    return ids[0]


def group(*jobs):
    with publishing(*((job, Options()) for job, _ in jobs)) as ids:
        ids += library().group([(job, list(args)) for job, args in jobs])
    return ids


@contextmanager
def running():
    """Log the true start and end of an attempt."""
    job = library().current()
    log("started", job=job, thread=threading.get_ident())
    error = ""
    try:
        yield job
    except BaseException as problem:
        error = type(problem).__name__
        raise
    finally:
        log("ended", job=job, error=error)


def attempts(job):
    """Return how many attempts of the job have started."""
    lines = Path(os.environ["APP_LOG"]).read_text(encoding="utf-8").splitlines()
    events = (json.loads(line) for line in lines if '"started"' in line)
    return sum(event["what"] == "started" and event["job"] == job for event in events)


class Broken(Exception):
    pass


class Expected(Exception):
    """An exception that the application declares as expected, where the library lets it."""


# The jobs -----------------------------------------------------------------------------------------------------------
def add(*numbers):
    with running():
        return sum(numbers)


def nap(seconds):
    with running():
        time.sleep(seconds)


def burn(seconds):
    with running():
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass


def fail():
    with running():
        raise Broken("boom")


def fail_expectedly():
    with running():
        raise Expected("as foreseen")


def fail_at_first(times):
    """Fail in the first attempts."""
    with running() as job:
        if attempts(job) <= times:
            raise Broken("again")


def parent(children):
    with running():
        for number in range(children):
            send("add", number)


def tower(height):
    with running():
        if height > 1:
            send("tower", height - 1)


def fail_at_first_after_a_child(queue):
    """Every attempt dispatches a job; the first one fails."""
    with running() as job:
        send("add", 1, queue=queue)
        if attempts(job) == 1:
            raise Broken("again")


def send_twice():
    """The same job, sent twice."""
    with running() as job:
        for _ in range(2):
            send("add", 1, job_id=f"twice-{job}")


def send_in_vain():
    """A job that cannot be published, and one that can."""
    with running() as job:
        try:
            send("add", threading.Lock(), job_id=f"vain-{job}")
        except Exception as problem:
            log("refused", job=f"vain-{job}", error=type(problem).__name__)
        send("add", 1)


def hidden(levels):
    """A type that the settings exclude."""
    with running():
        send("hidden", levels - 1) if levels > 1 else send("add", 1)


def above_hidden(levels):
    with running():
        send("hidden", levels)


def tell_baggage(levels):
    """At the top fail at first, then send a job."""
    from opentelemetry import baggage

    with running() as job:
        log("baggage", baggage=dict(baggage.get_all()))
        if levels > 1 and attempts(job) == 1:
            raise Broken("again")
        if levels > 1:
            send("tell_baggage", levels - 1)


def die():
    with running():
        os.kill(os.getpid(), signal.SIGKILL)


def die_at_first():
    with running() as job:
        if attempts(job) == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def nap_at_first(seconds):
    """Slow the first time only."""
    with running() as job:
        if attempts(job) == 1:
            time.sleep(seconds)


NAMES = tuple(
    name
    for name, found in list(globals().items())
    if callable(found)
    and getattr(found, "__module__", "") == __name__
    and not isinstance(found, type)
    and name not in ("library", "log", "publishing", "send", "group", "running", "attempts")
)
