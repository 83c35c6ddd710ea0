"""A Celery application that knows nothing of tracing and logs what really happens.

Every process appends JSON lines to `$APP_LOG`: `published` (by Celery's own signal), `started` and `ended` (inside the
task bodies). The tests compare the spans with this log.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from contextlib import contextmanager

from celery import Celery, Task, chain, chord, current_task, group, shared_task, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger
from kombu import Exchange, Queue
from kombu.common import Broadcast
from opentelemetry import trace

app = Celery("conformance", broker=os.environ["APP_BROKER"], backend=os.environ.get("APP_BACKEND") or None)
app.conf.update(
    task_default_queue="main",
    task_create_missing_queues=True,
    task_queues=[
        Queue("main"),
        Queue("side"),
        Queue("media", Exchange("media", type="direct"), routing_key="video"),
        Queue("topical", Exchange("topical", type="topic"), routing_key="news.#"),
        Broadcast("everyone"),
    ],
    task_routes={"routed": {"queue": "side"}},
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=1,
    broker_transport_options={"polling_interval": 0.05},
    result_expires=600,
    worker_task_log_format="%(levelname)s %(task_name)s[%(task_id)s] trace=%(trace_id)s span=%(span_id)s: %(message)s",
)
app.conf.update(json.loads(os.environ.get("APP_CONF", "{}")))

_make_record = logging.getLogRecordFactory()


def with_trace_ids(*args, **kwargs):
    """As docs/howto/celery.md shows."""
    record = _make_record(*args, **kwargs)
    found = trace.get_current_span().get_span_context()
    record.trace_id, record.span_id = f"{found.trace_id:032x}", f"{found.span_id:016x}"
    return record


logging.setLogRecordFactory(with_trace_ids)


def log(what, **more):
    line = json.dumps({"what": what, "at": time.time_ns(), "pid": os.getpid(), **more})
    with open(os.environ["APP_LOG"], "a", encoding="utf-8") as out:
        out.write(line + "\n")


class Expected(Exception):
    pass


class Broken(Exception):
    pass


@signals.before_task_publish.connect(weak=False)
def about_to_publish(sender, headers, body, **_):
    head = headers if "id" in headers else body
    log("publishing", job=head["id"], type=sender)


@signals.after_task_publish.connect(weak=False)
def published(sender, headers, body, exchange, routing_key, **_):
    head = headers if "id" in headers else body
    request = current_task.request if current_task and current_task.request.id else None
    log(
        "published",
        job=head["id"],
        type=sender,
        group=head.get("group"),
        eta=head.get("eta"),
        expires=head.get("expires"),
        exchange=getattr(exchange, "name", exchange),
        routing_key=routing_key,
        by=request.id if request else "",
        by_type=current_task.name if request else "",
        by_retries=request.retries if request else 0,
    )


@contextmanager
def running(task):
    """Log the true start and end of an attempt."""
    request = task.request
    log(
        "started",
        job=request.id,
        type=task.name,
        retries=request.retries,
        group=request.group,
        root=request.root_id,
        hostname=request.hostname,
        queue=(request.delivery_info or {}).get("routing_key"),
        redelivered=bool((request.delivery_info or {}).get("redelivered")),
        thread=threading.get_ident(),
    )
    error = ""
    try:
        yield request
    except BaseException as problem:
        error = type(problem).__name__
        raise
    finally:
        log("ended", job=request.id, retries=request.retries, error=error)


@app.task(bind=True)
def add(self, *numbers, **_):
    with running(self):
        return sum(n if isinstance(n, int) else sum(n) for n in numbers)


@app.task(bind=True, name="routed")
def routed(self):
    with running(self):
        return 1


@app.task(bind=True, name="aufgabe.größe✓")
def unicode_name(self):
    with running(self):
        return "ü"


@app.task
def unbound(x):
    log(
        "started",
        job=current_task.request.id,
        type="conformance_app.unbound",
        retries=0,
        hostname=current_task.request.hostname,
    )
    log("ended", job=current_task.request.id, retries=0, error="")
    return x


@shared_task(bind=True)
def shared(self):
    with running(self):
        return 1


class ClassTask(Task):
    name = "class_task"

    def run(self, x):
        with running(self):
            return x

    def __call__(self, *args, **kwargs):
        return super().__call__(*args, **kwargs)


class_task = app.register_task(ClassTask())


@app.task(bind=True)
def nap(self, seconds):
    with running(self):
        time.sleep(seconds)
        return seconds


@app.task(bind=True)
def burn(self, seconds):
    with running(self):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass


@app.task(bind=True)
def fail(self, message="boom"):
    with running(self):
        raise Broken(message)


@app.task(bind=True, throws=(Expected,))
def fail_expected(self):
    with running(self):
        raise Expected("as foreseen")


@app.task(bind=True, max_retries=2)
def retry_twice(self, until=2, **options):
    with running(self) as request:
        if request.retries < until:
            raise self.retry(exc=Broken("again"), countdown=options.pop("countdown", 0.1), **options)
        return "done"


@app.task(bind=True, max_retries=1)
def retry_plain(self):
    """Retry without an exception, until Celery refuses."""
    with running(self):
        raise self.retry(countdown=0)


@app.task(bind=True)
def retry_overridden(self):
    """The call's max_retries, not the task's."""
    with running(self):
        raise self.retry(exc=Broken("no"), countdown=0, max_retries=1)


@app.task(bind=True)
def retry_quietly(self):
    """A retry that does not raise: the attempt returns, and runs again."""
    with running(self) as request:
        if request.retries == 0:
            self.retry(countdown=0, throw=False)
        return request.retries


@app.task(bind=True, autoretry_for=(Broken,), retry_backoff=True, retry_jitter=True, retry_backoff_max=1, max_retries=2)
def autoretry(self):
    with running(self):
        raise Broken("always")


@app.task(bind=True)
def parent(self, children=2, repeat=False):
    with running(self):
        for n in range(children):
            add.delay(n)
        if repeat:
            add.apply_async((1,), task_id=f"same-{self.request.id}")
            add.apply_async((1,), task_id=f"same-{self.request.id}")


@app.task(bind=True)
def tower(self, height):
    with running(self):
        if height > 1:
            tower.delay(height - 1)


@app.task(bind=True)
def threaded_parent(self):
    """Children published by a thread that got the context, and by one that did not."""
    import contextvars

    with running(self):
        context = contextvars.copy_context()
        for target, args in ((context.run, (add.delay, 1)), (add.delay, (2,))):
            thread = threading.Thread(target=target, args=args)
            thread.start()
            thread.join()


@app.task(bind=True, acks_late=True)
def reject(self, requeue):
    with running(self) as request:
        if requeue and request.delivery_info.get("redelivered"):
            return "second time"
        raise Reject("not now", requeue=requeue)


@app.task(bind=True)
def ignore(self):
    with running(self):
        raise Ignore


@app.task(bind=True, soft_time_limit=1)
def soft_limited(self, catch):
    with running(self):
        try:
            time.sleep(5)
        except SoftTimeLimitExceeded:
            if not catch:
                raise
            return "caught"


@app.task(bind=True)
def replaced(self, how):
    with running(self):
        if how == "task":
            return self.replace(add.s(1, 2))
        if how == "chain":
            return self.replace(add.s(1, 2) | add.s(3) | add.s(4))
        if how == "group":
            return self.replace(group(add.s(1), add.s(2)))
        if how == "chord":
            return self.replace(chord([add.s(1), add.s(2)], add.s()))
        raise ValueError(how)


@app.task(bind=True)
def extend_chord(self):
    with running(self):
        self.add_to_chord(add.s(10))
        return 1


@app.task(bind=True)
def waits(self):
    """Gets another job's result inside a job."""
    from celery.result import allow_join_result

    with running(self), allow_join_result():
        return add.delay(1, 1).get(timeout=10)


@app.task(bind=True)
def canvas(self, kind):
    """Dispatches a composite from inside a job."""
    with running(self):
        CANVASES[kind]().apply_async()


@app.task(bind=True)
def unserialisable(self):
    with running(self):
        return object()


@app.task(bind=True)
def retry_in_vain(self):
    """The broker refuses the publication of the retry."""
    with running(self):

        def refuse(*_, **__):
            raise ConnectionError("broker down")

        self.app.amqp.send_task_message, send = refuse, self.app.amqp.send_task_message
        try:
            self.retry(countdown=0)
        finally:
            self.app.amqp.send_task_message = send


@app.task(bind=True)
def runs_inline(self):
    with running(self):
        return add.apply((1,)).get(disable_sync_subtasks=False)


@app.task(bind=True)
def shows_headers(self):
    with running(self) as request:
        log("headers", **{k: v for k, v in (request.headers or {}).items() if isinstance(v, str)})


@app.task(bind=True)
def forwards_headers(self):
    with running(self) as request:
        shows_headers.apply_async(headers=request.headers)


@app.task(bind=True)
def tells_trace(self):
    with running(self):
        get_task_logger(__name__).info("a line of the task")
        found = trace.get_current_span().get_span_context()
        log("trace", trace=f"{found.trace_id:032x}", span=f"{found.span_id:016x}", sampled=found.trace_flags.sampled)


@app.task(bind=True)
def reject_acknowledged(self):
    """Its message was acknowledged before the run, so it cannot go back."""
    with running(self):
        raise Reject("too late", requeue=True)


@app.task(bind=True, max_retries=0)
def retry_never(self):
    with running(self):
        raise self.retry(exc=Broken("refused"))


@app.task(bind=True)
def retry_then_fail(self):
    """Published again, and failed all the same."""
    with running(self) as request:
        if request.retries == 0:
            self.retry(countdown=0, throw=False)
            raise Broken("and yet")


@app.task(bind=True)
def fail_without_backend(self):
    """The result backend is gone when Celery wants to store the failure."""

    def refuse(*_, **__):
        del self.backend.store_result
        raise ConnectionError("no backend")

    with running(self):
        self.backend.store_result = refuse
        raise Broken("x")


@app.task(bind=True)
def replaced_in_vain(self):
    with running(self):
        return self.replace(add.s(object()))


@app.task(bind=True)
def on_error(self, *args, **_):
    with running(self):
        return 1


CANVASES = {
    "group": lambda: group(add.s(1), add.s(2), add.s(3)),
    "lazy group": lambda: group(add.s(n) for n in range(3)),
    "chain": lambda: chain(add.s(1), add.s(2), add.s(3)),
    "chord": lambda: chord([add.s(1), add.s(2)], add.s()),
    "chord of chains": lambda: chord([add.s(1) | add.s(2), add.s(3) | add.s(4)], add.s()),
    "chord with a chain body": lambda: chord([add.s(1), add.s(2)], add.s() | add.s(5)),
    "chain of groups": lambda: chain(group(add.s(1), add.s(2)), group(add.s(), add.s()), add.s()),
    "chord in chain": lambda: chain(add.s(1), chord([add.s(1), add.s(2)], add.s()), add.s(7)),
    "group of chains": lambda: group(add.s(1) | add.s(2), add.s(3) | add.s(4)),
    "group in group": lambda: group(add.s(1), group(add.s(2), add.s(3))),
    "group of chords": lambda: group(chord([add.s(1), add.s(2)], add.s()), add.s(3)),
    "group then task": lambda: group(add.s(1), add.s(2)) | add.s(),
    "single group": lambda: group(add.s(1)),
    "single group then task": lambda: group(add.s(1)) | add.s(1),
    "empty group": lambda: group(),
    "empty chord": lambda: chord([], add.s()),
    "map": lambda: add.map([1, 2, 3]),
    "starmap": lambda: add.starmap([(1, 2), (3, 4)]),
    "chunks": lambda: add.chunks([(1, 2), (3, 4), (5, 6)], 2),
    "callbacks": lambda: add.s(1).set(link=[add.s(1), add.s(2)]),
    "errback": lambda: fail.s().set(link_error=on_error.s()),
    "failing chord": lambda: chord([add.s(1), fail.s()], add.s()).on_error(on_error.s()),
    "extended chord": lambda: chord([extend_chord.s(), add.s(1)], add.s()),
    "broken chain": lambda: chain(add.s(1), fail.si(), add.s(2)),
    "chain with a retry": lambda: chain(retry_twice.si(1), add.si(2)),
    "chord with a retry": lambda: chord([retry_twice.si(1), add.si(2)], add.si(1)),
}
