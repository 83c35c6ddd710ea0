"""A task that handles messages in batches: a strategy of its own collects them, one run gets them all."""

from __future__ import annotations

import time

from celery import Task, signals
from celery._state import _task_stack
from celery.app.task import Context
from celery.worker.request import Request, create_request_cls
from yard import app, log, quick

SIZE = 3


class Message:
    """What the run gets of one message."""

    def __init__(self, request):
        self.id, self.name, self.request_dict = request.id, request.name, request.request_dict
        self.delivery_info, self.hostname = request.delivery_info, request.hostname
        self.args, self.kwargs = request.args, request.kwargs


def run_batch(name, messages):
    """Run the task once for many messages, with the signals that Celery sends for one."""
    task, args = app.tasks[name], (messages,)
    _task_stack.push(task)
    task.request_stack.push(Context(loglevel=0, logfile=None))
    state = "SUCCESS"
    try:
        signals.task_prerun.send(sender=task, task_id="a-batch", task=task, args=args, kwargs={})
        try:
            task(*args)
        except Exception:
            state = "FAILURE"
    finally:
        try:
            signals.task_postrun.send(
                sender=task, task_id="a-batch", task=task, args=args, kwargs={}, retval=None, state=state
            )
        finally:
            _task_stack.pop()
            task.request_stack.pop()


class Batches(Task):
    abstract = True
    typing = False

    def __init__(self):
        self.waiting = []

    def Strategy(self, task, app, consumer):
        request_class = create_request_cls(
            Request,
            task,
            consumer.pool,
            consumer.hostname,
            consumer.event_dispatcher,
            app=app,
        )

        def handle(message, body, ack, reject, callbacks, **_):
            request = request_class(
                message,
                on_ack=ack,
                on_reject=reject,
                app=app,
                hostname=consumer.hostname,
                eventer=consumer.event_dispatcher,
                task=task,
                connection_errors=consumer.connection_errors,
                body=message.body,
                headers=message.headers,
            )
            signals.task_received.send(sender=consumer, request=request)
            self.waiting.append(request)
            if len(self.waiting) >= SIZE:
                requests, self.waiting = self.waiting, []
                consumer.pool.apply_async(
                    run_batch,
                    (task.name, [Message(one) for one in requests]),
                    accept_callback=lambda *_: [one.acknowledge() for one in requests],
                    callback=lambda *_: None,
                )

        return handle


@app.task(base=Batches, bind=True, name="yard.many")
def many(self, messages):
    for one in messages:
        log("started", one.id, 1, args=list(one.args))
    quick.apply_async(task_id=f"child-of-{messages[0].id}")
    time.sleep(0.2)
    if any(one.args == ["bad"] for one in messages):
        raise ValueError("the whole batch")
    for one in messages:
        log("ended", one.id, 1)
