"""Tracing reads what an application sends and changes none of it: canvases, headers, apps, queues."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import parts
import pytest
from celery import Celery, Task, chain, chord, group
from celery.contrib.testing.worker import start_worker
from celery.signals import after_task_publish
from kombu import Exchange, Queue
from kombu.common import Broadcast
from opentelemetry import trace

from otjobs import errors
from otjobs.integrations.celery import CeleryInstrumentor
from otjobs.testing import capture_jobs

ROOTS = "otjobs.workflow.roots"
QUEUE = "messaging.destination.name"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def captured():
    faults = errors.fault_counts()
    with capture_jobs() as found:
        CeleryInstrumentor().instrument(tracer_provider=found.provider)
        yield found
        CeleryInstrumentor().uninstrument()
    assert errors.fault_counts() == faults


@pytest.fixture
def app(request):
    """An application on a broker in memory that is nobody's current one."""
    with new_app() as found:
        yield found


@contextmanager
def new_app(**settings):
    name = os.urandom(4).hex()  # kombu keeps one pool of connections for each address
    found = Celery("untouched", broker=f"memory://localhost/{name}", backend="cache+memory://", set_as_current=False)
    found.conf.update({"task_default_queue": name, **settings})

    @found.task(name="add", shared=False)
    def add(x=0, y=0):
        return x + y

    @found.task(name="total", shared=False)
    def total(numbers):
        return sum(numbers)

    found.add, found.total = add, total
    try:
        yield found
    finally:
        found.close()


def messages(app, queue=None):
    """Every message that waits in a queue, decoded."""
    found = []
    with (
        app.connection_for_read() as connection,
        connection.SimpleQueue(queue or app.conf.task_default_queue) as waiting,
    ):
        while True:
            try:
                message = waiting.get(block=False)
            except waiting.Empty:
                return found
            message.ack()
            found.append(message)


def in_thread(function):
    """Run in a thread that knows no application; return what it returns."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join(30)
    assert len(results) == 1
    return results[0]


def members(app, number=3):
    return (app.add.si(n, 1) for n in range(number))


# Canvases: what is made of which members, how many roots are published by the caller, and whether that is known ahead.
CANVASES = {
    "group of a list": (lambda app: group(list(members(app))), 3, True),
    "group of a generator": (lambda app: group(members(app)), 3, False),
    "group of a generator in a group": (lambda app: group([app.add.si(1, 1), group(members(app))]), 4, False),
    "chord of a list": (lambda app: chord(list(members(app)), app.total.s()), 3, True),
    "chord of a generator": (lambda app: chord(members(app), app.total.s()), 3, False),
    "group of a generator, then a task": (lambda app: group(members(app)) | app.total.s(), 3, False),
    "chain": (lambda app: chain(app.add.si(1, 1), app.add.si(2, 2)), 1, True),
    "chain into a group of a generator": (
        lambda app: chain(app.add.si(1, 1), group(members(app)), app.total.s()),
        1,
        None,
    ),
    "chain from a group of a generator": (lambda app: chain(group(members(app)), app.total.s()), 3, False),
    "chunks": (lambda app: app.add.chunks([(n, 1) for n in range(6)], 2).group(), 3, False),
}


def picture(signature):
    """What is in a signature, without what Celery chooses at random."""
    if isinstance(signature, dict):
        found = {
            key: picture(value)
            for key, value in signature.items()
            if key not in ("task_id", "reply_to", "root_id", "parent_id", "group_id")
        }
        return [type(signature).__name__, getattr(signature, "_app", None) is None, found]
    if isinstance(signature, (list, tuple)):
        return [type(signature).__name__, [picture(one) for one in list(signature)]]
    return repr(signature) if not isinstance(signature, Celery) else "app"


def of_a_result_backend_with_chords(monkeypatch):
    """Celery's own polling job would be one root more; that is tested where there is a worker."""
    monkeypatch.setattr("celery.backends.base.Backend.apply_chord", lambda self, header, body, **_: None)


@pytest.mark.parametrize("kind", CANVASES)
def test_sending_a_canvas_leaves_it_as_it_is_without_tracing(app, kind):
    make = CANVASES[kind][0]
    plain = make(app)
    in_thread(plain.apply_async)
    with capture_jobs() as found:
        CeleryInstrumentor().instrument(tracer_provider=found.provider)
        traced = make(app)
        in_thread(traced.apply_async)
        CeleryInstrumentor().uninstrument()
    assert len(found.dispatches) >= CANVASES[kind][1]
    assert picture(traced) == picture(plain)


@pytest.mark.parametrize("kind", CANVASES)
def test_a_canvas_goes_to_the_application_of_its_tasks_from_any_thread(captured, app, kind, monkeypatch):
    of_a_result_backend_with_chords(monkeypatch)
    make, roots, known = CANVASES[kind]
    with new_app() as other:
        other.set_current()
        in_thread(lambda: make(app).apply_async())
        assert messages(other) == []
    assert len(messages(app)) == len(captured.dispatches) == roots
    [around] = [s for s in captured.spans if s.name.startswith("dispatch ") and s.kind is trace.SpanKind.INTERNAL]
    assert around.attributes == {ROOTS: roots}
    assert {s.parent.span_id for s in captured.dispatches} == {around.context.span_id}
    if known is not None:
        assert {s.attributes.get(ROOTS) for s in captured.dispatches} == {roots if known else None}


@pytest.mark.parametrize("kind", CANVASES)
def test_inside_a_span_the_number_has_a_span_of_its_own_only_where_no_member_has_it(captured, app, kind, monkeypatch):
    of_a_result_backend_with_chords(monkeypatch)
    make, roots, known = CANVASES[kind]
    with captured.provider.get_tracer("web").start_as_current_span("GET /") as request:
        make(app).apply_async()
    assert {s.parent.span_id for s in captured.dispatches} == {request.get_span_context().span_id}
    own = [s for s in captured.spans if s.kind is trace.SpanKind.INTERNAL and s.name != "GET /"]
    assert [(s.attributes, s.parent.span_id) for s in own] == (
        [] if known else [({ROOTS: roots}, request.get_span_context().span_id)]
    )


def test_members_are_published_as_the_generator_gives_them(captured, app):
    published = []
    note = lambda **_: published.append(1)  # noqa: E731
    after_task_publish.connect(note)

    def run():
        seen = []

        def lazy():
            for n in range(4):
                seen.append(len(published))
                yield app.add.si(n, 1)

        published.clear()
        group(lazy()).apply_async()
        return seen

    traced = run()
    CeleryInstrumentor().uninstrument()
    plain = run()
    CeleryInstrumentor().instrument()
    assert traced == plain
    assert plain[-1] > 0


class Skips(Task):
    """What a library for singletons does: a job that is already there is not sent again."""

    def apply_async(self, args=None, *more, **options):
        if args and args[0] % 2:
            return self.AsyncResult("there-already")
        return super().apply_async(args, *more, **options)


def test_members_that_are_not_published_do_not_count(captured, app):
    @app.task(name="once", base=Skips, shared=False)
    def once(n):
        return n

    group([once.s(n) for n in range(5)]).apply_async()
    [around] = [s for s in captured.spans if s.kind is trace.SpanKind.INTERNAL]
    assert (len(captured.dispatches), around.attributes) == (3, {ROOTS: 3})


def test_a_member_that_cannot_be_encoded_does_not_count(captured, app):
    with pytest.raises(Exception, match="serializable"):
        group([app.add.s(1), app.add.s(2), app.add.s(object()), app.add.s(3)]).apply_async()
    [around] = [s for s in captured.spans if s.kind is trace.SpanKind.INTERNAL]
    assert [s.status.is_ok for s in captured.dispatches] == [True, True, False]
    assert (around.attributes[ROOTS], around.status.is_ok) == (2, False)


def test_steps_that_do_not_run_inline_do_not_count(captured, app):
    app.conf.update(task_always_eager=True, task_eager_propagates=True)

    @app.task(name="broken", shared=False)
    def broken():
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        chain(app.add.si(1, 1), broken.si(), app.add.si(2, 2)).apply_async()
    [around] = [s for s in captured.spans if s.kind is trace.SpanKind.INTERNAL]
    assert (len(captured.dispatches), around.attributes[ROOTS]) == (2, 2)


def test_a_replacement_keeps_its_own_headers(captured, app):
    """The carrier of the replaced job is in them only while they are sent."""
    step = app.add.si(1, 1)
    step.set(headers={"tenant": "acme"})
    given = step.options["headers"]
    kept = []

    @app.task(bind=True, name="replaced", shared=False)
    def replaced(self):
        kept.append(chain(app.add.si(2, 2), step))
        self.replace(kept[0])

    app.conf.task_always_eager = True
    replaced.delay()
    (last,) = kept[0].tasks[1:]
    assert last.options["headers"] == given == {"tenant": "acme"}
    assert "headers" not in kept[0].tasks[0].options


# The application of a message is the one that sends it ---------------------------------------------------------------


def test_a_time_without_zone_is_the_sending_applications(captured):
    due = datetime(2030, 6, 1, 12, 0)
    with new_app(timezone="Asia/Tokyo", enable_utc=False) as tokyo, new_app(timezone="UTC") as utc:
        for app, hours in ((tokyo, 9), (utc, 0)):
            captured.clear()
            in_thread(lambda app=app: app.add.apply_async((1,), eta=due, expires=due + timedelta(days=1)))
            [span] = captured.dispatches
            expected = int((due - timedelta(hours=hours)).replace(tzinfo=UTC).timestamp()) * 10**9
            assert span.attributes["otjobs.job.due_at"] == expected
            assert span.attributes["otjobs.job.expires_at"] == expected + 86_400 * 10**9


TASKS = Exchange("tasks", type="topic")
ROUTED = {
    "task_queues": [
        Queue("orders_q", Exchange("orders", type="direct"), routing_key="order.new"),
        Queue("news_q", Exchange("news", type="topic"), routing_key="news.#.urgent"),
        Queue("words_q", Exchange("news", type="topic"), routing_key="words.*"),
        Queue("feeds", TASKS, routing_key="feed.#"),
        Queue("rest", TASKS, routing_key="task.#"),
        Queue("all_q", Exchange("all", type="fanout")),
        Broadcast("everyone"),
    ],
    "task_default_queue": "rest",
    "task_default_exchange": "tasks",
    "task_default_exchange_type": "topic",
    "task_default_routing_key": "task.default",
    "task_routes": [{"imports.*": {"routing_key": "feed.import"}}, {"sorted": "feeds"}],
}
DESTINATIONS = [
    ({"exchange": "orders", "routing_key": "order.new"}, "orders_q"),
    ({"queue": "orders_q"}, "orders_q"),
    ({"exchange": "news", "routing_key": "news.urgent"}, "news_q"),
    ({"exchange": "news", "routing_key": "news.of.today.urgent"}, "news_q"),
    ({"exchange": "news", "routing_key": "words.many"}, "words_q"),
    ({"exchange": "nobody", "routing_key": "knows.it"}, "knows.it"),
    ({"exchange": "all", "routing_key": "whatever"}, "all_q"),
    ({"queue": "everyone"}, "everyone"),
    ({"queue": "everyone", "exchange": "everyone"}, "everyone"),
    ({"queue": "made_on_the_way"}, "made_on_the_way"),
    ({"queue": Queue("given", Exchange("given"), routing_key="given.key")}, "given"),
    ({"routing_key": "feed.import"}, "feeds"),
    ({}, "rest"),
]


@pytest.mark.parametrize(("options", "queue"), DESTINATIONS)
def test_the_queue_is_the_one_the_sending_application_chose(captured, options, queue):
    with new_app() as current:
        current.set_current()
        with new_app(**ROUTED) as app:
            in_thread(lambda: app.add.apply_async((1,), **options))
    [span] = captured.dispatches
    assert span.attributes[QUEUE] == queue


@pytest.mark.parametrize(("task", "queue"), [("imports.one", "feeds"), ("sorted", "feeds"), ("other", "rest")])
@pytest.mark.parametrize("eager", [False, True])
def test_the_queue_of_a_route(captured, task, queue, eager):
    with new_app(**ROUTED) as app:
        app.conf.task_always_eager = eager
        if eager and task == "imports.one":
            app.conf.task_routes = [{"imports.*": {"queue": "feeds"}}]

        @app.task(name=task, shared=False)
        def routed():
            return None

        routed.delay()
    [span] = captured.dispatches
    assert span.attributes[QUEUE] == queue


@pytest.mark.parametrize("eager", [False, True])
def test_a_router_function_is_asked_as_often_as_without_tracing(captured, eager):
    asked = []

    def route(name, args, kwargs, options, task=None, **_):
        asked.append(name)
        return {"queue": "routed"}

    with new_app(task_routes=(route,), task_always_eager=eager) as app:
        app.add.delay(1)
        assert asked == ["add"] * (not eager)
        if eager:  # nor is anything built that a later setting would have changed
            assert "queues" not in vars(app.amqp)
            return
        with pytest.raises(Exception, match="serializable"):
            app.add.delay(object())
        assert asked == ["add", "add"]


# What the user put into headers -------------------------------------------------------------------------------------


GIVEN = {"traceparent": TRACEPARENT, "tracestate": "vendor=1", "baggage": "userId=alice"}


def parent_of(span):
    return f"00-{span.context.trace_id:032x}-{span.parent.span_id:016x}-01"


@pytest.mark.parametrize("given", [GIVEN, {"traceparent": TRACEPARENT}])
def test_a_given_context_is_kept_and_is_the_parent_where_no_span_is_current(captured, app, given):
    headers = {"tenant": "acme", **given}
    before = dict(headers)
    for _ in range(2):
        app.add.apply_async((1,), headers=headers)
    assert headers == before
    for message, span in zip(messages(app), captured.dispatches, strict=True):
        assert {key: message.headers[key] for key in headers} == headers
        assert ("tracestate" in message.headers) is ("tracestate" in given)
        assert parent_of(span) == TRACEPARENT
        own = f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
        assert message.headers["otjobs"]["traceparent"] == own
        assert message.headers["otjobs"].get("baggage") == given.get("baggage")


def test_inside_a_span_a_given_context_is_kept_and_the_span_is_the_parent(captured, app):
    with captured.provider.get_tracer("web").start_as_current_span("GET /") as request:
        app.add.apply_async((1,), headers=GIVEN)
    [message] = messages(app)
    assert {key: message.headers[key] for key in GIVEN} == GIVEN
    [span] = captured.dispatches
    assert span.parent.span_id == request.get_span_context().span_id


@pytest.mark.parametrize(
    "headers", [None, {}, {"tracestate": "vendor=1", "baggage": "a=b"}, {"traceparent": "broken"}, {"traceparent": 7}]
)
def test_without_a_usable_given_context_a_trace_begins(captured, app, headers):
    app.add.apply_async((1,), headers=headers)
    [message] = messages(app)
    assert {key: message.headers[key] for key in headers or {}} == (headers or {})
    [span] = captured.dispatches
    assert span.parent is None
    if "traceparent" not in (headers or {}):
        assert message.headers["traceparent"] == message.headers["otjobs"]["traceparent"]


def test_a_given_context_is_the_parent_of_a_whole_canvas(captured, app):
    group([app.add.s(1), app.add.s(2)]).apply_async(headers=GIVEN)
    assert {parent_of(s) for s in captured.dispatches} == {TRACEPARENT}
    assert [{key: m.headers[key] for key in GIVEN} for m in messages(app)] == [GIVEN] * 2


def test_headers_of_a_signature_are_kept(captured, app):
    signature = app.add.s(1).set(headers=GIVEN)
    signature.apply_async()
    signature.apply_async()
    assert signature.options["headers"] == GIVEN
    assert [{key: m.headers[key] for key in GIVEN} for m in messages(app)] == [GIVEN] * 2
    assert {parent_of(s) for s in captured.dispatches} == {TRACEPARENT}


def test_a_given_context_is_the_parent_of_an_inline_run(captured, app):
    app.add.apply((1,), headers=GIVEN)
    [span] = captured.dispatches
    assert parent_of(span) == TRACEPARENT


def test_headers_of_another_job_that_are_passed_on_do_not_stand_for_the_users(captured, app):
    """`apply_async(headers=self.request.headers)`: what otjobs wrote for one job is not given by the user for the next."""
    app.add.apply_async((1,))
    [first] = messages(app)
    with captured.provider.get_tracer("web").start_as_current_span("GET /"):
        app.add.apply_async((2,), headers={k: first.headers[k] for k in ("otjobs", "traceparent")})
    [second] = messages(app)
    assert second.headers["traceparent"] == second.headers["otjobs"]["traceparent"] != first.headers["traceparent"]


# When a message leaves ----------------------------------------------------------------------------------------------


def test_connecting_and_declaring_are_no_wait(captured, app, monkeypatch):
    """What the publication does before the message leaves belongs to its span."""
    from kombu.transport.memory import Channel, Transport

    moments = []

    def noting(kind, name):
        original = getattr(kind, name)

        def noted(*args, **kwargs):
            result = original(*args, **kwargs)
            moments.append((name, datetime.now(UTC)))
            return result

        monkeypatch.setattr(kind, name, noted)

    noting(Transport, "establish_connection")
    noting(Channel, "queue_declare")
    app.add.delay(1)
    [message] = messages(app)
    [span] = captured.dispatches
    enqueued = span.attributes["otjobs.job.enqueued_at"]
    assert message.headers["otjobs"]["enqueued_at"] == str(enqueued)
    done = [int(at.timestamp() * 1e6) * 1000 for name, at in moments[:2]]
    assert [name for name, _ in moments[:2]] == ["establish_connection", "queue_declare"]
    assert span.start_time < done[0] <= done[1] <= enqueued <= span.end_time


PRODUCER = """
import json, os
from celery import Celery, group
app = Celery("p", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.task_default_queue = "streaming"
@app.task(name="twice")
def twice(n):
    return 2 * n
if __name__ == "__main__":
    results = []
    def lazy():
        before = None
        for n in (1, 2, 3):
            if n == 3:
                results.append(first.get(timeout=60))
            member = twice.si(n)
            first = app.AsyncResult(member.freeze().id) if n == 1 else first
            yield member
    group(lazy()).apply_async()
    print(json.dumps(results))
"""


@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.parametrize("traced", [False, True])
def test_a_generator_may_wait_for_the_members_it_gave_before(redis_url, tmp_path, traced):
    """A real worker runs the first member of a group before the third one is made; Celery itself looks one ahead."""
    (tmp_path / "streaming.py").write_text(PRODUCER)
    environment = {**os.environ, "BROKER": redis_url.replace("/0", "/6"), "OTEL_TRACES_EXPORTER": "none"}
    environment |= {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    launcher = [os.path.join(os.path.dirname(sys.executable), "opentelemetry-instrument")] * traced
    command = [sys.executable, "-m", "celery", "-A", "streaming", "worker", "-P", "solo", "-l", "info"]
    worker = parts.Process(command, log=tmp_path / "worker.log", env=environment, cwd=tmp_path)
    try:
        worker.wait_ready(lambda: " ready." in worker.output(), seconds=60, what="the worker")
        done = subprocess.run(
            [*launcher, sys.executable, "streaming.py"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode, json.loads(done.stdout.splitlines()[-1])) == (0, [2]), done.stderr
    finally:
        worker.stop()


# Where jobs run -----------------------------------------------------------------------------------------------------


def test_a_given_context_is_kept_by_retries_and_callbacks(captured, app):
    """A real worker in a thread; what it publishes itself has the job's own context beside the user's headers."""
    given = {**GIVEN, "tenant": "acme"}
    seen = {}

    @app.task(bind=True, name="again", shared=False, max_retries=2)
    def again(self):
        seen["again", self.request.retries] = dict(self.request.headers)
        if self.request.retries < 2:
            raise self.retry(countdown=0)

    @app.task(bind=True, name="callback", shared=False)
    def callback(self):
        seen["callback", 0] = dict(self.request.headers)

    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=60):
        again.apply_async(headers=given, link=callback.si().set(headers=given))
        parts.wait_until(lambda: ("callback", 0) in seen, seconds=60)
        parts.wait_until(lambda: len(captured.executions) == 4, seconds=60)
    assert [{key: headers[key] for key in given} for headers in seen.values()] == [given] * 4
    first, second = sorted(captured.dispatches, key=lambda s: s.start_time)
    assert parent_of(first) == TRACEPARENT
    runs = sorted(captured.executions, key=lambda s: s.start_time)
    assert [(s.attributes["otjobs.job.attempt"], s.attributes["otjobs.job.outcome"]) for s in runs] == [
        (1, "retry"),
        (2, "retry"),
        (3, "success"),
        (1, "success"),
    ]
    assert {s.parent.span_id for s in runs[:3]} == {first.context.span_id}
    assert (second.parent.span_id, runs[3].parent.span_id) == (runs[2].context.span_id, second.context.span_id)
