"""The application's producer: does one thing per line of JSON on stdin and answers with a line of JSON."""

from __future__ import annotations

import json
import sys
import threading
import traceback

from opentelemetry import baggage, context, trace
from opentelemetry.trace import SpanKind

import otjobs
from application import jobs
from application.jobs import library
from application.library import Options

COMMANDS = {}


def command(function):
    COMMANDS[function.__name__] = function
    return function


@command
def send(job, args=(), **options):
    return jobs.send(job, *args, **options)


@command
def send_many(sends):
    return [send(**one) for one in sends]


@command
def group(members):
    return jobs.group(*members)


@command
def after(first, then):
    """Send two jobs, the second for when the first has ended; who publishes it is the library's affair."""
    ids = library().after(first, then)
    jobs.log("sent", jobs=ids)
    return ids


@command
def cancel(job):
    library().cancel(job)


@command
def stop(job):
    library().stop(job)


@command
def fail_to_send(job="add", args=(1,), unserialisable=False, **options):
    """Publish in vain; tells what reached the user, and whether the same span is current after it."""
    jobs.log("refused", job=options["job_id"])
    before = trace.get_current_span().get_span_context().span_id
    raised = ""
    try:
        library().send(job, [threading.Lock()] if unserialisable else list(args), Options(**options))
    except Exception as error:
        raised = type(error).__name__
    return {"raised": raised, "current_unchanged": before == trace.get_current_span().get_span_context().span_id}


@command
def inside(spans, do):
    """Do something inside local spans, the outermost first: [name, kind, attributes]."""
    if not spans:
        return run(do)
    name, kind, attributes = spans[0]
    with trace.get_tracer("web").start_as_current_span(name, kind=SpanKind[kind], attributes=attributes):
        return inside(spans[1:], do)


@command
def with_labels(values, do):
    with otjobs.labels(**values):
        return run(do)


@command
def with_baggage(values, do):
    found = context.get_current()
    for key, value in values.items():
        found = baggage.set_baggage(key, value, found)
    token = context.attach(found)
    try:
        return run(do)
    finally:
        context.detach(token)


@command
def unsampled(do):
    remote = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(0))
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(remote)))
    try:
        return run(do)
    finally:
        context.detach(token)


def run(request):
    return COMMANDS[request.pop("run")](**request)


if __name__ == "__main__":
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        try:
            answer = {"result": run(json.loads(line))}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)
