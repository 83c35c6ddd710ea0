"""The core: span trees, carriers in any state, outcomes, children, beacons, settings."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

import otjobs
from otjobs import attributes as a
from otjobs import carrier as carriers
from otjobs import config, errors
from otjobs.carrier import MAX_SIZE, decode
from otjobs.testing import TickingClock, capture_jobs
from otjobs.traceparent import parse_traceparent

SECOND = 1_000_000_000


@pytest.fixture
def captured():
    with capture_jobs(clock=TickingClock(), counting_ids=True) as found:
        yield found


@pytest.fixture
def environment(monkeypatch):
    def change(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"OTEL_PYTHON_OTJOBS_{name}", value)
        config.settings.cache_clear()

    yield change
    monkeypatch.undo()
    config.settings.cache_clear()


def one(spans):
    assert len(spans) == 1, [s.name for s in spans]
    return spans[0]


def test_a_job_and_its_child_are_one_trace(captured):
    # Given a job that dispatches another one
    with otjobs.dispatching("order", queue="orders", job_id="o1") as order:
        pass
    with (
        otjobs.executing(order.carrier, worker="w1") as run,
        otjobs.dispatching("mail", queue="mails", job_id="m1") as mail,
    ):
        pass
    with otjobs.executing(mail.carrier, worker="w1"):
        pass
    # Then the tree, and the child's attributes are whole
    assert captured.tree() == "dispatch order\n  execute order\n    dispatch mail\n      execute mail"
    assert run.dispatched == 1
    parent = one([s for s in captured.executions if s.name == "execute order"])
    child = dict(one([s for s in captured.executions if s.name == "execute mail"]).attributes)
    child.pop(a.CPU_SECONDS)
    assert child == {
        a.SYSTEM: "custom",
        a.OPERATION_TYPE: "process",
        a.OPERATION_NAME: "execute",
        a.QUEUE: "mails",
        a.JOB_ID: "m1",
        a.JOB_TYPE: "mail",
        a.ATTEMPT: 1,
        a.WORKER: "w1",
        a.OUTCOME: "success",
        a.DISPATCHED: 0,
        a.ENQUEUED_AT: captured.dispatches[1].start_time,
        a.PARENT_ID: "o1",
        a.PARENT_TYPE: "order",
        a.PARENT_ATTEMPT: 1,
        a.WORKFLOW_TYPE: "order",
        a.WORKFLOW_STARTED_AT: captured.dispatches[0].start_time,
    }
    assert parent.attributes[a.DISPATCHED] == 1
    assert parent.kind is SpanKind.CONSUMER
    assert [link.context.span_id for link in parent.links] == [captured.dispatches[0].context.span_id]


def test_a_retry_is_a_sibling_linked_to_the_attempt_before(captured):
    with otjobs.dispatching("a", queue="q") as d:
        pass
    with otjobs.executing(d.carrier) as first:
        carrier = first.retry(delay_seconds=5, error=ValueError("no"))
    with otjobs.executing(json.dumps(carrier)):
        pass
    assert captured.tree() == "dispatch a\n  execute a\n  execute a"
    one_, two = captured.executions
    assert (one_.attributes[a.OUTCOME], one_.attributes[a.ERROR_TYPE]) == ("retry", "ValueError")
    assert (two.attributes[a.ATTEMPT], two.attributes[a.OUTCOME]) == (2, "success")
    assert two.attributes[a.ENQUEUED_AT] == captured.dispatches[0].start_time
    assert two.attributes[a.PUBLISHED_AT] > one_.start_time
    assert two.attributes[a.DUE_AT] > two.attributes[a.PUBLISHED_AT]
    assert [link.context.span_id for link in two.links] == [
        captured.dispatches[0].context.span_id,
        one_.context.span_id,
    ]
    assert one_.status.status_code is StatusCode.UNSET


def test_link_mode_gives_each_attempt_its_own_trace_and_one_workflow(captured, environment):
    environment(PROPAGATION="link")
    with otjobs.dispatching("a") as d:
        pass
    with otjobs.executing(d.carrier), otjobs.dispatching("b") as child:
        pass
    with otjobs.executing(child.carrier):
        pass
    root = captured.dispatches[0].context.trace_id
    for execution in captured.executions:
        assert execution.parent is None
        assert execution.context.trace_id != root
        assert execution.attributes[a.WORKFLOW_ID] == f"{root:032x}"
    assert captured.dispatches[1].attributes[a.WORKFLOW_ID] == f"{root:032x}"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError("x"), "failure"),
        (SystemExit(1), "failure"),
        (KeyboardInterrupt(), "failure"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_every_exception_ends_the_span_and_goes_on(captured, error, outcome):
    with pytest.raises(type(error)), otjobs.executing(None, job_type="a"):
        raise error
    span = one(captured.executions)
    assert (span.attributes[a.OUTCOME], span.attributes[a.ERROR_TYPE]) == (outcome, type(error).__name__)


def test_a_failed_publish_is_an_error_is_not_current_and_no_child(captured):
    with otjobs.executing(None, job_type="p") as parent:
        with pytest.raises(OSError), otjobs.dispatching("c"):
            raise OSError("broker down")
        assert trace.get_current_span() is parent.span
    dispatch = one(captured.dispatches)
    assert dispatch.status.status_code is StatusCode.ERROR
    assert captured.executions[0].attributes[a.DISPATCHED] == 0


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "x",
        "{",
        "[1]",
        "null",
        b"\xff\xfe",
        7,
        1.5,
        [1],
        object(),
        {1: 2},
        {"traceparent": "zz"},
        {"traceparent": 5},
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
        {"attempt": "-1", "enqueued_at": "9" * 30, "type": ["x"]},
        {"id": "x" * 2000},
        {"workflow": "nonsense"},
        "y" * (MAX_SIZE + 1),
        {"a": "b" * MAX_SIZE * 2},
        {str(i): "" for i in range(999)},
        "[" * 10000,
        {"baggage": "=;=,,%%%"},
        {"parent_id": "1", "parent_attempt": "many"},
    ],
)
def test_garbage_never_reaches_the_job(captured, garbage):
    ran = False
    with otjobs.executing(garbage, job_type="a", job_id="1", queue="q"):
        ran = True
    assert ran
    span = one(captured.executions)
    assert span.attributes[a.JOB_TYPE] == "a"
    assert span.attributes[a.OUTCOME] == "success"


def test_a_broken_field_is_left_out_and_counted_and_the_rest_counts(captured):
    before = sum(errors.fault_counts().values())
    with otjobs.dispatching("a", queue="q") as d:
        pass
    with otjobs.executing({**d.carrier, "due_at": "soon"}):
        pass
    span = one(captured.executions)
    assert span.parent.span_id == captured.dispatches[0].context.span_id
    assert a.DUE_AT not in span.attributes
    assert sum(errors.fault_counts().values()) == before + 1


def test_a_stale_carrier_gives_no_publish_time(captured):
    # Given a carrier that an un-instrumented worker copied into its retry
    with otjobs.dispatching("a") as d:
        pass
    with otjobs.executing(d.carrier, attempt=3):
        pass
    span = one(captured.executions)
    assert span.attributes[a.ATTEMPT] == 3
    assert a.PUBLISHED_AT not in span.attributes


def test_a_redelivery_is_the_next_attempt(captured):
    with otjobs.dispatching("a") as d:
        pass
    with otjobs.executing(d.carrier, redelivered=True):
        pass
    span = one(captured.executions)
    assert (span.attributes[a.ATTEMPT], span.attributes[a.REDELIVERED]) == (2, True)


def test_jobs_that_ended_elsewhere(captured):
    with otjobs.dispatching("a") as d:
        pass
    otjobs.ended(d.carrier, "expired")
    carrier = otjobs.ended(d.carrier, "retry", error_type="WorkerLost", started_at=captured.dispatches[0].end_time)
    with otjobs.executing(carrier):
        pass
    expired, killed, again = captured.executions
    assert expired.start_time == expired.end_time
    assert a.OBSERVED not in expired.attributes
    assert killed.attributes[a.OBSERVED] is True
    assert (killed.attributes[a.ERROR_TYPE], killed.attributes[a.OUTCOME]) == ("WorkerLost", "retry")
    assert again.attributes[a.ATTEMPT] == 2


def test_a_retry_tells_when_its_next_attempt_is_ready(captured):
    # Given a retry with a backoff, one without, one of which only the queue knows, and one that another job will publish
    with otjobs.dispatching("a") as d:
        pass
    with otjobs.executing(d.carrier) as late:
        late_carrier = late.retry(delay_seconds=3600)
    with otjobs.executing(late_carrier) as at_once:
        carrier = at_once.retry()
    with otjobs.executing(carrier) as put_back:
        put_back.set_outcome("retry")
    with otjobs.executing(carrier) as replaced:
        replaced.set_outcome("retry")
        replaced.next_carrier(published_later=True)
    last = otjobs.ended(carrier, "retry", due_at=time.time_ns() + 3600 * 10**9)
    with otjobs.executing(carrier) as done:
        done.retry(delay_seconds=5)
        done.set_outcome("success")
    spans = captured.executions
    told = [span.attributes.get(a.RETRY_READY_AT) for span in spans]
    assert told == [
        int(late_carrier["due_at"]),
        int(carrier["published_at"]),
        spans[2].end_time,
        None,
        int(last["due_at"]),
        None,
    ]


def test_another_queue_keeps_the_first_one(captured):
    with otjobs.dispatching("a", queue="fast") as d:
        pass
    with otjobs.executing(d.carrier, queue="slow"):
        pass
    span = one(captured.executions)
    assert (span.attributes[a.QUEUE], span.attributes[a.JOB_QUEUE]) == ("slow", "fast")


def test_a_composite_is_one_trace_and_says_how_many_roots(captured):
    with otjobs.composite("group", group_id="g", roots=2):
        for _ in range(2):
            with otjobs.dispatching("a"):
                pass
    assert captured.tree() == "dispatch group\n  dispatch a\n  dispatch a"
    assert {(s.attributes[a.GROUP_ID], s.attributes[a.WORKFLOW_ROOTS]) for s in captured.dispatches} == {("g", 2)}


def test_the_route_is_the_trigger_even_from_an_inner_span(captured):
    tracer = captured.provider.get_tracer("web")
    with otjobs.dispatching("warm-up"):
        pass
    with tracer.start_as_current_span(
        "GET /orders/{id}", kind=SpanKind.SERVER, attributes={"http.route": "/orders/{id}"}
    ):
        with tracer.start_as_current_span("inner"), otjobs.dispatching("a"):
            pass
    with otjobs.trigger("schedule", "nightly"), otjobs.dispatching("b"):
        pass
    assert [(s.attributes[a.TRIGGER], s.attributes[a.TRIGGER_NAME]) for s in captured.dispatches] == [
        ("manual", ""),
        ("request", "/orders/{id}"),
        ("schedule", "nightly"),
    ]


def test_labels_travel_to_children(captured):
    with otjobs.labels(tenant="acme"), otjobs.dispatching("a", labels={"feature": "x"}) as d:
        pass
    with otjobs.executing(d.carrier), otjobs.dispatching("b"):
        pass
    child = captured.dispatches[1].attributes
    assert (child["otjobs.label.tenant"], child["otjobs.label.feature"]) == ("acme", "x")


def test_a_long_run_sends_beacons_and_a_short_one_none(environment):
    environment(BEACON_AFTER="0.05", BEACON_INTERVAL="0.1")
    with capture_jobs() as captured:
        with otjobs.executing(None, job_type="short"):
            pass
        with otjobs.executing(None, job_type="long") as run:
            run.span.set_attribute("the application's", 1)
            deadline = time.monotonic() + 5
            while len(captured.beacons) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
        assert [b.name for b in captured.beacons[:2]] == ["start long", "start long"]
        beacon = captured.beacons[0]
        assert (beacon.kind, beacon.start_time) == (SpanKind.CLIENT, run.started_at)
        assert beacon.parent.span_id == run.span.get_span_context().span_id
        assert beacon.attributes[a.OPERATION_TYPE] == "receive"
        assert beacon.attributes[a.BEACON_INTERVAL] == 0.1
        assert "the application's" not in beacon.attributes


def test_async_blocks(captured):
    async def main():
        async with otjobs.dispatching("a") as d:
            pass
        async with otjobs.executing(d.carrier):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert captured.tree() == "dispatch a\n  execute a"
    assert a.CPU_SECONDS not in one(captured.executions).attributes


def test_settings_that_cannot_be_used_are_named(environment, caplog):
    with caplog.at_level(logging.WARNING, "otjobs"):
        environment(BEACON_INTERVAL="often", PROPAGATION="both")
        found = config.settings()
    assert (found.beacon_interval, found.link_mode) == (30.0, False)
    assert "OTEL_PYTHON_OTJOBS_BEACON_INTERVAL='often'" in caplog.text
    assert "OTEL_PYTHON_OTJOBS_PROPAGATION='both'" in caplog.text


def test_the_message_and_stack_are_recorded_only_by_setting(captured, environment):
    for how, events, text in (("type", 0, None), ("message", 1, "secret"), ("stack", 1, "secret")):
        environment(EXCEPTIONS=how)
        captured.clear()
        with pytest.raises(ValueError, match="secret"), otjobs.executing(None, job_type="a"):
            raise ValueError("secret")
        span = one(captured.executions)
        assert (len(span.events), span.status.description) == (events, text)


def test_traceparent():
    good = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    assert f"{parse_traceparent(good).trace_id:032x}" == "1" * 32
    for bad in (None, 1, "", good[:-3], "ff" + good[2:], good.replace("1", "g"), good.replace("2", "0")):
        assert parse_traceparent(bad) is None, bad
    assert decode({"traceparent": good}).dispatch.is_remote


def test_an_id_that_an_attempt_dispatches_twice_keeps_its_first_enqueue_time(captured):
    """One job has one enqueue time, and so one key; another attempt starts afresh."""
    with otjobs.dispatching("parent") as parent:
        pass
    found = {}
    for attempt in (1, 2):
        with otjobs.executing(parent.carrier, attempt=attempt) as run:
            for job_id in ("same", "other", "same", "same"):
                with otjobs.dispatching("child", job_id=job_id) as d:
                    pass
                found.setdefault((attempt, job_id), []).append((d.job.enqueued_at, d.carrier["enqueued_at"]))
        assert run.dispatched == 2
    assert {key: len(set(times)) for key, times in found.items()} == dict.fromkeys(found, 1)
    assert len({times[0] for times in found.values()}) == 4
    same = [s for s in captured.dispatches if s.attributes[a.JOB_ID] == "same"][:3]
    assert {s.attributes[a.ENQUEUED_AT] for s in same} == {same[0].start_time}
    assert len({s.start_time for s in same}) == 3


def test_at_most_a_thousand_first_enqueue_times_are_remembered(captured):
    with otjobs.executing(None, job_type="parent") as run:
        first, second = (
            [otjobs.dispatching("child", job_id=str(n)).job.enqueued_at for n in range(1500)] for _ in range(2)
        )
    assert len(run._enqueued) == 1000
    assert first[:1000] == second[:1000]
    assert all(one < two for one, two in zip(first[1000:], second[1000:], strict=True))


@pytest.mark.parametrize("key", sorted(carriers._USUAL))
@pytest.mark.parametrize(
    "value", ["", "x", "0", "7", "99999999999999999999", "1700000000000000000", "12", "x" * 2000, None]
)
def test_a_usual_carrier_is_read_as_one_with_fields_that_few_have(key, value, monkeypatch):
    usual = {
        "traceparent": f"00-{7:032x}-{8:016x}-01", "type": "resize", "queue": "images", "enqueued_at": "1700000000000000000",
        "max_attempts": "3", "producer": "shop", "trigger": "request", "trigger_name": "/orders", "workflow_type": "order",
        "workflow_started_at": "1690000000000000000", "parent_id": "p", "parent_type": "order", "parent_attempt": "2",
    }  # fmt: skip
    broken = {name: text for name, text in usual.items() if name != key} | ({} if value is None else {key: value})
    found = decode(broken)
    monkeypatch.setattr(carriers, "_USUAL", frozenset())
    other = decode(broken)
    assert (
        [getattr(found, name) for name in carriers.Carrier.__slots__ if name != "context"]
        == [getattr(other, name) for name in carriers.Carrier.__slots__ if name != "context"]
    )  # fmt: skip
    assert found.context.keys() == other.context.keys()
