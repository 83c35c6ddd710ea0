"""Tasks of the yard that end in every way that Celery knows, and canvases that replace a job."""

from __future__ import annotations

import os
import signal
import time

from celery import Task, chain, chord, group, signals
from celery.exceptions import Ignore, Reject, Retry
from yard import again, app, exits, log, quick, started, task


class Unpicklable(Exception):
    def __init__(self, text="", more=None):
        super().__init__(text)
        self.more = more or (lambda: text)


class RejectsLate(Task):
    def on_success(self, *_args, **_kwargs):
        raise Reject("after its success", requeue=False)


@task()
def returns(self):
    started(self)


@signals.task_prerun.connect
@signals.task_postrun.connect
def breaks(task_id=None, **_):
    """A receiver of the application's own that fails, which Celery logs."""
    if task_id == "returns":
        raise ValueError("a receiver")


@task()
def runs_out_of_memory(self):
    started(self)
    raise MemoryError


@task()
def ignores(self):
    started(self)
    raise Ignore("nothing to do")


@task()
def raises(self):
    started(self)
    raise ValueError("no")


@task(throws=(KeyError,))
def raises_expected(self):
    started(self)
    raise KeyError("expected")


@task()
def raises_unpicklable(self):
    started(self)
    raise Unpicklable("a lambda inside")


@task()
def returns_unserialisable(self):
    started(self)
    return object()


@task(acks_late=True, acks_on_failure_or_timeout=False)
def fails_unacknowledged(self):
    started(self)
    raise ValueError("set aside")


@task(base=RejectsLate)
def rejects_after_success(self):
    started(self)


@task(max_retries=3)
def retries(self):
    started(self)
    if not self.request.retries:
        raise self.retry(countdown=0, exc=ValueError("again"))


@task(max_retries=3)
def retries_without_cause(self):
    started(self)
    if not self.request.retries:
        raise self.retry(countdown=0)


@task(max_retries=3)
def retries_unpicklable(self):
    started(self)
    if not self.request.retries:
        raise self.retry(countdown=0, exc=Unpicklable("again"))


@task(max_retries=3)
def retries_quietly(self):
    started(self)
    if not self.request.retries:
        self.retry(countdown=0, exc=ValueError("again"), throw=False)


@task(max_retries=3)
def retries_quietly_then_raises(self):
    started(self)
    if not self.request.retries:
        self.retry(countdown=0, throw=False)
        raise KeyError("after that")


@task(max_retries=3)
def retries_quietly_then_rejects(self):
    started(self)
    if not self.request.retries:
        self.retry(countdown=0, throw=False)
        raise Reject("after that", requeue=False)


@task(autoretry_for=(ValueError,), retry_kwargs={"max_retries": 1, "countdown": 0})
def exhausts(self):
    started(self)
    raise ValueError("every time")


@task(max_retries=5)
def is_refused_by_its_own_limit(self):
    started(self)
    raise self.retry(countdown=0, exc=ValueError("every time"), max_retries=1)


@task(max_retries=0)
def is_refused(self):
    started(self)
    raise self.retry(countdown=0)


@task(max_retries=0)
def gets_over_a_refusal(self):
    started(self)
    try:
        self.retry(countdown=0, exc=ValueError("refused"))
    except ValueError:
        pass


@task()
def raises_retry_by_hand(self):
    started(self)
    raise Retry("nobody published it")


@task()
def calls_a_task_that_retries(self):
    """A plain call of a task is no job, so its retry publishes nothing."""
    started(self)
    only_retries()


@app.task(name="yard.only_retries", bind=True)
def only_retries(self):
    raise self.retry(countdown=0)


@task(max_retries=3)
def retries_in_vain(self):
    started(self)
    raise self.retry(countdown=0, args=[object()])


@task(max_retries=3)
def gets_over_a_retry_in_vain(self):
    started(self)
    try:
        self.retry(countdown=0, args=[object()], throw=False)
    except Reject:
        pass


@task()
def rejects(self):
    started(self)
    raise Reject("no", requeue=False)


@task()
def rejects_what_is_acknowledged(self):
    started(self)
    raise Reject("again", requeue=True)


@task(acks_late=True)
def rejects_and_requeues(self):
    started(self)
    if not again(self.request.id):
        raise Reject("again", requeue=True)


@task(acks_late=True)
def rejects_unpicklably(self):
    started(self)
    raise Reject(Unpicklable("again"), requeue=True)


@task(time_limit=1)
def has_no_time(self, seconds):
    started(self)
    time.sleep(seconds)
    log("ended", self.request.id)


@task(time_limit=1, acks_late=True, acks_on_failure_or_timeout=False)
def has_no_time_and_is_requeued(self, seconds):
    started(self)
    if not again(self.request.id):
        time.sleep(seconds)
    log("ended", self.request.id)


@task()
def empties_its_request(self):
    started(self)
    self.request.clear()


@signals.worker_process_shutdown.connect
def closes(**_):
    """What an application does in a child that ends, such as giving back a connection."""
    log("closed")


@task()
def is_replaced(self):
    started(self)
    raise self.replace(quick.s())


@task()
def dies(self):
    """End the child, and what it has not sent, for good."""
    started(self)
    os.kill(os.getpid(), signal.SIGKILL)


@task()
def child(self, n=None):
    started(self)
    log("canvas", self.request.id, canvas=[self.request.chain, self.request.chord])
    return n


@task()
def ends_badly(self):
    started(self)
    raise ZeroDivisionError("a step")


STEPS = {
    "ok": lambda: child.si("ok"),
    "boom": lambda: ends_badly.si(),
    "ignored": lambda: ignores.si(),
    "rejected": lambda: rejects.si(),
    "killed": lambda: exits.si(),
    "unknown": lambda: app.signature("yard.nowhere", immutable=True),
    "retrying": lambda: exhausts.si(),
    "expired": lambda: child.si().set(expires=-1),
    "unserialisable": lambda: returns_unserialisable.si(),
}
SHAPES = {
    "chain": lambda step: chain(child.si("first"), step, child.si("last")),
    "deep chain": lambda step: chain(child.si("first"), child.si("second"), step, child.si("third"), child.si("last")),
    "chord": lambda step: chord([child.si(1), step], child.si("body")),
    "group": lambda step: group(child.si(1), step),
    "chain of a chord": lambda step: chain(
        child.si("first"), chord([child.si(1), step], child.si("body")), child.si("last")
    ),
    "task": lambda step: step,
    "nested": lambda step: chain(child.si("first"), is_replaced_by.si("chain", dict(step)), child.si("last")),
}


@task()
def is_replaced_by(self, shape, step):
    started(self)
    step = STEPS[step]() if isinstance(step, str) else app.signature(step)
    raise self.replace(SHAPES[shape](step))
