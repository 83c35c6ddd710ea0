"""Celery under odd times and odd settings of the SDK: jobs run, and messages carry what the settings say."""

from __future__ import annotations

import json

import pytest
import redis
from celery_main_harness import stop

from otjobs import attributes as a
from otjobs.times import LATEST

pytestmark = pytest.mark.redis


def messages(yard):
    """Take the messages that wait in the yard's queue: job id -> headers, as they are on the wire."""
    client = redis.Redis.from_url(yard.broker)
    found = [json.loads(raw)["headers"] for raw in client.lrange(yard.queue, 0, -1)]
    client.delete(yard.queue)
    client.close()
    return {headers["id"]: headers for headers in found}


def test_jobs_that_are_due_or_expire_in_the_year_2300(yard):
    worker = yard.worker(concurrency=1)
    producer = yard.produce(
        "from datetime import UTC, datetime\n"
        "for n in range(3):\n"
        "    quick.apply_async(task_id=f'due-{n}', eta=datetime(2300, 1, 1, tzinfo=UTC))\n"
        "    quick.apply_async(task_id=f'expires-{n}', expires=datetime(2300, 1, 1, tzinfo=UTC))\n"
        "    quick.apply_async(task_id=f'old-{n}', eta=datetime(1960, 1, 1, tzinfo=UTC))\n"
    )
    yard.wait_for("ended", 6)
    stop(worker)
    dispatches = {s.job: s for s in yard.spans if s.operation == "dispatch"}
    assert len(dispatches) == 9
    for n in range(3):
        assert dispatches[f"due-{n}"][a.DUE_AT] == LATEST
        [run] = yard.executions(f"expires-{n}")
        assert dispatches[f"expires-{n}"][a.EXPIRES_AT] == run[a.EXPIRES_AT] == LATEST
        [run] = yard.executions(f"old-{n}")
        assert run[a.DUE_AT] < run[a.ENQUEUED_AT]
        assert yard.executions(f"due-{n}") == []
    for process in (producer, worker):
        assert "Traceback" not in process.output()
        assert process.output().count("otjobs: a time outside") <= 1
    assert producer.output().count("otjobs: a time outside") == 1


@pytest.mark.parametrize("propagators", ["tracecontext", "none"])
def test_baggage_stays_at_home_where_no_propagator_has_it(yard, propagators):
    code = (
        "from opentelemetry import baggage, context\n"
        "context.attach(baggage.set_baggage('secret', 's3'))\n"
        "quick.apply_async(task_id='1')\n"
    )
    yard.produce(code, OTEL_PROPAGATORS=propagators)
    text = json.dumps(messages(yard)["1"])
    assert "s3" not in text
    assert "secret" not in text
    yard.produce(code, name="usual")
    assert "secret=s3" in json.dumps(messages(yard)["1"])


def test_a_disabled_sdk_leaves_messages_as_they_are_without_tracing(yard):
    code = "quick.apply_async(task_id='1')\ngroup(quick.s() for _ in range(2)).apply_async()\n"
    found = []
    for name, more in (("plain", {"traced": False}), ("disabled", {"OTEL_SDK_DISABLED": "true"})):
        producer = yard.produce(f"from celery import group\n{code}", name=name, **more)
        assert "so far in this process" not in producer.output()  # no warning
        found.append([sorted(headers) for headers in messages(yard).values()])
    assert found[0] == found[1]
    assert len(found[0]) == 3


BROKEN = """
from celery import chain, chord, group
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
class Broken(SpanProcessor):
    def on_start(self, span, parent_context=None): raise RuntimeError("broken")
    def on_end(self, span): raise RuntimeError("broken")
several = trace.get_tracer_provider()._active_span_processor
several._span_processors = (Broken(), *several._span_processors)
chain(quick.si(), quick.si()).apply_async()
group(quick.si(), quick.si()).apply_async()
chord([quick.si(), quick.si()], quick.si()).apply_async()
quick.apply_async()
"""


def test_a_span_processor_that_raises_breaks_no_canvas(yard):
    worker = yard.worker(concurrency=1)
    producer = yard.produce(BROKEN)
    yard.wait_for("ended", 8)
    yard.wait_for_executions(8)
    stop(worker)
    # Those that the producer published: heads, members and headers; their spans reach the exporter all the same.
    service = f"{yard.queue}-producer"
    published = [s for s in yard.spans if s.operation == "dispatch" and s.resource["service.name"] == service]
    assert len(published) == 6
    assert producer.output().count("a span processor of the application failed") == 1
