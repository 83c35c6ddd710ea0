"""The application's producer: runs one scenario per line of JSON on stdin and answers with a line of JSON."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import conformance_app as tasks
from conformance_app import CANVASES, app
from opentelemetry import baggage, context, trace
from opentelemetry.trace import SpanKind

SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def task(name):
    return app.tasks[name if name in app.tasks else f"conformance_app.{name}"]


@scenario
def send(name, args=(), kwargs=None, via="apply_async", **options):
    """Send one job, by the given call."""
    if via == "delay":
        return task(name).delay(*args, **(kwargs or {})).id
    if via == "send_task":
        return app.send_task(name, args, kwargs, **options).id
    if via == "send_task by keywords":
        return app.send_task(name=name, args=args, kwargs=kwargs, **options).id
    if "eta_in" in options:
        options["eta"] = datetime.now(UTC) + timedelta(seconds=options.pop("eta_in"))
    if "expires_in" in options:
        options["expires"] = datetime.now(UTC) + timedelta(seconds=options.pop("expires_in"))
    return task(name).apply_async(args, kwargs, **options).id


@scenario
def send_many(sends):
    return [send(**one) for one in sends]


@scenario
def apply_canvas(kind, eager=False):
    canvas = CANVASES[kind]()
    (canvas.apply if eager else canvas.apply_async)()


@scenario
def inside(spans, do):
    """Run another scenario inside local spans, the outermost first: [name, kind, attributes at start, later ones]."""
    tracer = trace.get_tracer("web")
    if not spans:
        return run(do)
    name, kind, attributes, later = spans[0]
    with tracer.start_as_current_span(name, kind=SpanKind[kind], attributes=attributes) as span:
        span.set_attributes(later)
        return inside(spans[1:], do)


@scenario
def with_baggage(values, do):
    found = context.get_current()
    for key, value in values.items():
        found = baggage.set_baggage(key, value, found)
    token = context.attach(found)
    try:
        return run(do)
    finally:
        context.detach(token)


@scenario
def unsampled(do):
    remote = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(0))
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(remote)))
    try:
        return run(do)
    finally:
        context.detach(token)


@scenario
def eager(name, args=(), propagate=None, always=False, call="apply", canvas=None):
    """Run inline; `propagate` as Celery's throw."""
    app.conf.task_always_eager = always
    try:
        if canvas:
            return apply_canvas(canvas)
        if always:
            app.conf.task_eager_propagates = bool(propagate)
            return task(name).delay(*args).id
        return task(name).apply(args, throw=propagate).id
    except Exception as error:
        return f"raised {type(error).__name__}"
    finally:
        app.conf.task_always_eager = False
        app.conf.task_eager_propagates = False


@scenario
def plain_call(name, args=()):
    return task(name)(*args)


@scenario
def failing(name="add", args=(1,), broker=None, **options):
    """Publish in vain; says what reached the user and which span is current after it."""
    before = trace.get_current_span().get_span_context().span_id
    connection = None if broker is None else app.connection(broker)
    if args == "unserialisable":
        args = (object(),)
    raised = ""
    try:
        with connection or nullcontext():
            task(name).apply_async(args, connection=connection, **options)
    except Exception as error:
        raised = f"{type(error).__module__}.{type(error).__qualname__}"
    after = trace.get_current_span().get_span_context().span_id
    return {"raised": raised, "current_unchanged": before == after}


@scenario
def failing_backend(**options):
    """The result backend is down: Celery fails before it makes the message."""
    before = trace.get_current_span().get_span_context().span_id
    raised = ""
    backend = app.backend

    def refuse(*_):
        raise ConnectionError("result backend down")

    backend.on_task_call = refuse
    try:
        task("routed").apply_async(**options)
    except Exception as error:
        raised = type(error).__qualname__
    finally:
        del backend.on_task_call
    return {"raised": raised, "current_unchanged": before == trace.get_current_span().get_span_context().span_id}


@scenario
def failing_canvas():
    raised = ""
    try:
        tasks.group(task("add").s(1), task("add").s(object())).apply_async()
    except Exception as error:
        raised = type(error).__qualname__
    return {"raised": raised, "current": trace.get_current_span().get_span_context().is_valid}


@scenario
def broken_generator():
    def members():
        yield task("add").s(1)
        yield task("add").s(2)
        yield task("add").s(1 // 0)

    try:
        tasks.group(members()).apply_async()
    except Exception as error:
        return f"raised {type(error).__name__}"


@scenario
def with_worker_inside(sends, ended):
    """Run a worker in this process until so many attempts have ended."""
    import os
    import time

    from celery.contrib.testing.worker import start_worker

    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="warning"):
        ids = send_many(sends)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with open(os.environ["APP_LOG"], encoding="utf-8") as lines:
                if sum('"what": "ended"' in line for line in lines) >= ended:
                    break
            time.sleep(0.1)
        time.sleep(0.3)
    return ids


@scenario
def headers_reused(name="add"):
    """One dict of headers for two jobs, which the user may keep."""
    headers = {"mine": "1"}
    ids = [task(name).apply_async((n,), headers=headers).id for n in (1, 2)]
    return {"ids": ids, "headers": headers}


@scenario
def raw(headers, name="add", args=(1,), task_id=None):
    """A job with message headers of someone else's making."""
    from kombu.utils.uuid import uuid

    task_id = task_id or uuid()
    message = app.amqp.create_task_message(task_id, task(name).name, args, {})
    message.headers.update(headers)
    with app.producer_pool.acquire() as producer:
        producer.publish(
            message.body,
            headers=message.headers,
            routing_key="main",
            exchange="",
            serializer="json",
            **message.properties,
        )
    return task_id


def run(command):
    return SCENARIOS[command.pop("run")](**command)


if __name__ == "__main__":
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        try:
            answer = {"result": run(json.loads(line))}
        except Exception as error:
            import traceback

            answer = {"error": repr(error), "traceback": traceback.format_exc()}
        print(json.dumps(answer), flush=True)
