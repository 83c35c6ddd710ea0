"""No public call raises into the code around it, whatever it is given, and none costs more than its bound."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from odd_values import HOSTILE, EndlessMapping, Hostile, anything, texts
from opentelemetry import context as otel_context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

import otjobs
from otjobs import attributes as a
from otjobs import errors, faults
from otjobs.carrier import MAX_FIELDS, MAX_SIZE, decode
from otjobs.sdk import careful_encoder
from otjobs.testing import capture_jobs
from otjobs.times import EARLIEST, LATEST

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
SECOND = 1_000_000_000
FIELDS = [
    "traceparent", "tracestate", "baggage", "previous", "attempt", "parent_attempt", "links", "system", "id", "type",
    "queue", "parent_id", "parent_type", "workflow", "workflow_type", "group", "trigger", "trigger_name", "producer",
    "enqueued_at", "published_at", "due_at", "expires_at", "max_attempts", "workflow_started_at", "roots",
    "first_started_at", "label.x", "label.\ud800",
]  # fmt: skip


@contextlib.contextmanager
def all_is_well():
    """The spans of the block can be encoded and have sound times, and nothing stays behind in the context."""
    before = otel_context.get_current()
    with capture_jobs() as captured:
        yield captured
        assert otel_context.get_current() == before
        spans = captured.spans
        assert len(encode_spans(spans).SerializeToString()) < 200_000 * max(len(spans), 1)
        for span in spans:
            assert careful_encoder._is_sound(span)
            for key, value in span.attributes.items():
                assert type(value) in (str, int, float, bool), key
                if key in a.NAMES and key.endswith("_at"):
                    assert EARLIEST <= value <= LATEST, (key, value)


def assert_sound(carrier):
    assert all(type(part) is str for pair in carrier.items() for part in pair)
    assert sum(len(part.encode()) for pair in carrier.items() for part in pair) <= 4 * MAX_SIZE
    assert sum(len(part) for pair in carrier.items() for part in pair) <= MAX_SIZE
    json.dumps(carrier).encode()


@relaxed
@given(st.dictionaries(st.sampled_from(["queue", "system", "job_id", "delay_seconds", "due_at", "expires_at", "max_attempts", "trigger", "trigger_name", "labels"]), anything), anything)  # fmt: skip
def test_dispatching(arguments, job_type):
    with all_is_well() as captured:
        with otjobs.dispatching(job_type, **arguments) as d:
            pass
        assert_sound(d.carrier)
        with otjobs.executing(d.carrier) as run:
            pass
        assert [s.name.split()[0] for s in captured.spans] == ["dispatch", "execute"]
        one, two = captured.spans
        # Both spans of a job agree on what it is, however odd that was.
        assert {one.attributes[key] for key in (a.SYSTEM, a.JOB_ID, a.JOB_TYPE, a.QUEUE)} == {
            two.attributes[key] for key in (a.SYSTEM, a.JOB_ID, a.JOB_TYPE, a.QUEUE)
        }
        assert one.attributes.get(a.DUE_AT) == two.attributes.get(a.DUE_AT)
        assert run.attempt == 1


@relaxed
@given(
    anything,
    st.dictionaries(st.sampled_from(["job_type", "queue", "system", "job_id", "attempt", "max_attempts", "redelivered", "received_at", "worker"]), anything),
    st.dictionaries(st.sampled_from(["due_at", "delay_seconds", "error"]), anything),
    st.tuples(anything, anything, anything, anything),
)  # fmt: skip
def test_executing(carrier, arguments, retry, outcome):
    with all_is_well() as captured:
        with otjobs.executing(carrier, **arguments) as run:
            assert_sound(run.retry(**retry))
            run.set_outcome(outcome[0], error=outcome[1], error_type=outcome[2], dead_letter=outcome[3])
            run.limit_attempts(outcome[0])
            assert otjobs.current_execution() is run
        assert otjobs.current_execution() is None
        with otjobs.executing(run.retry(**retry)) as again:
            again.end(outcome[0], error=outcome[1], error_type=outcome[2], ended_at=outcome[3])
        assert len(captured.executions) == 2
        assert again.attempt == min(run.attempt + 1, 65_535)


@relaxed
@given(
    anything,
    anything,
    st.dictionaries(st.sampled_from(["error_type", "started_at", "ended_at", "due_at", "dead_letter", "job_type", "queue", "system", "job_id", "attempt", "worker"]), anything),
)  # fmt: skip
def test_ended(carrier, outcome, arguments):
    with all_is_well() as captured:
        assert_sound(otjobs.ended(carrier, outcome, **arguments))
        assert len(captured.executions) == 1


@relaxed
@given(st.dictionaries(st.one_of(st.sampled_from(FIELDS), texts, st.binary(max_size=5), st.integers()), anything))
@example({"baggage": "\ud800"})
@example({"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "tracestate": "\ud800=\ud800"})
def test_decode(data):
    found = decode(data)
    assert 1 <= found.attempt <= 65_535
    for name, value in found.fields.items():
        if name.endswith("_at"):
            assert EARLIEST <= value <= LATEST, name
    for form in (json.dumps(data, default=str, skipkeys=True), [data], EndlessMapping(), Hostile()):
        assert decode(form).attempt >= 1
    with all_is_well():
        with otjobs.executing(data) as run, otjobs.dispatching("child") as d:
            pass
        assert_sound(d.carrier)
        assert run.dispatched == 1


@relaxed
@given(st.dictionaries(texts, anything), anything, anything, anything)
def test_surroundings(labels, first, second, third):
    with all_is_well() as captured:
        with otjobs.labels(**labels), otjobs.trigger(first, second):
            with otjobs.composite(first, group_id=second, roots=third), otjobs.dispatching("a") as d:
                d.rename(third)
            d.end(third)
        assert_sound(d.carrier)
        assert len(captured.dispatches) == 1


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_values_everywhere(number):
    value = HOSTILE[number]
    with all_is_well() as captured:
        for name in (
            "queue",
            "system",
            "job_id",
            "delay_seconds",
            "due_at",
            "expires_at",
            "max_attempts",
            "trigger",
            "trigger_name",
            "labels",
        ):
            with otjobs.dispatching("a", **{name: value}) as d:
                d.rename(value)
            assert_sound(d.carrier)
        with otjobs.labels(a=value), otjobs.trigger(value, value), otjobs.dispatching(value, labels={"b": value}) as d:
            pass
        d.end(value)
        with otjobs.composite(value, group_id=value, roots=value):
            pass
        for name in (
            "job_type",
            "queue",
            "system",
            "job_id",
            "attempt",
            "max_attempts",
            "redelivered",
            "received_at",
            "worker",
        ):
            with otjobs.executing(d.carrier, **{name: value}) as run:
                run.set_outcome(value, error=value, error_type=value, dead_letter=value)
                run.limit_attempts(value)
            for key in ("due_at", "delay_seconds", "error"):
                assert_sound(run.retry(**{key: value}))
        for carrier in (value, dict.fromkeys(FIELDS, value), {"queue": [value]}):
            with otjobs.executing(carrier) as run:
                run.end(value, error=value, error_type=value, expected=value, ended_at=value)
            otjobs.ended(carrier, value)
        for name in ("error_type", "started_at", "ended_at", "due_at", "dead_letter"):
            assert_sound(otjobs.ended(d.carrier, "failure", **{name: value}))
        assert len(captured.dispatches) == 11
        assert len(captured.executions) == 9 + 6 + 5


@pytest.mark.parametrize("timeout", [None, 5, "5", 1e300, float("inf"), 10**400, dt.timedelta(seconds=5), "soon", [], object()])  # fmt: skip
def test_flush(timeout):
    with capture_jobs() as captured:
        otjobs.dispatching("a").end()
        assert otjobs.flush(timeout) is True
        assert len(captured.dispatches) == 1


BLOCKS = {
    "dispatching": lambda: otjobs.dispatching("a"),
    "executing": lambda: otjobs.executing(None, job_type="a"),
    "labels": lambda: otjobs.labels(a=1),
    "trigger": lambda: otjobs.trigger("request"),
    "composite": lambda: otjobs.composite("group", roots=1),
}


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), StopIteration(1), GeneratorExit(), asyncio.CancelledError()])  # fmt: skip
@pytest.mark.parametrize("block", BLOCKS)
def test_what_the_block_raises_passes_through_unchanged(block, error):
    with capture_jobs():
        with pytest.raises(type(error)) as raised, BLOCKS[block]():
            raise error
        assert raised.value is error


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_warning_takes_any_detail(number):
    errors.warn("a test warns", HOSTILE[number])
    with errors.guard("a test guards"):
        raise RuntimeError(HOSTILE[number])


@pytest.mark.parametrize("field", ["tracestate", "baggage"])
def test_what_opentelemetry_logs_of_a_broken_field_can_be_written_into_a_log_file(field, caplog):
    """Half a character in a payload: a handler that writes UTF-8 could not write the line."""
    decode({"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", field: "\ud800=\ud800"})
    assert [record.name.partition(".")[0] for record in caplog.records] == ["opentelemetry"]
    assert caplog.text.encode()


def peak(call):
    """Return the most bytes that the call held at once."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


BIG = "x" * 1_000_000
LARGE = {
    "keys": {f"{n}{BIG}": "" for n in range(120)},
    "labels": {f"label.{n}{BIG}": "v" for n in range(120)},
    "values": {str(n): BIG for n in range(120)},
    "values in bytes": {b"%d" % n: BIG.encode() for n in range(120)},
    "fields": {str(n): "" for n in range(1_000_000)},
    "text": BIG * 50,
    "bytes": BIG.encode() * 50,
    "number": 10**100_000,
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_large_carrier_is_not_read(kind):
    with capture_jobs():
        decode({"type": "warm"})
        assert peak(lambda: decode(LARGE[kind])) < 64 * 1024
        assert not decode(LARGE[kind]).known


def test_a_carrier_without_end_is_left_after_its_bound():
    endless = EndlessMapping()
    assert not decode(endless).known
    assert endless.asked <= 2 * (MAX_FIELDS + 2)


@pytest.mark.parametrize("name", ["job_type", "queue", "job_id", "trigger_name", "labels"])
def test_a_large_argument_costs_a_bounded_text(name):
    value = {str(n): BIG for n in range(100)} if name == "labels" else BIG * 50
    with capture_jobs() as captured:
        otjobs.dispatching("warm").end()
        captured.clear()
        used = peak(lambda: otjobs.dispatching(**{"job_type": "t", name: value}).end())
        # The digest of a cut text is that of its first million characters, encoded.
        assert used < 5_000_000
        assert len(encode_spans(captured.spans).SerializeToString()) < 64 * 1024


def test_ids_that_are_cut_stay_different():
    with capture_jobs() as captured:
        for end in "ab":
            with otjobs.dispatching("t", job_id="x" * 5000 + end):
                pass
        one, two = (s.attributes[a.JOB_ID] for s in captured.dispatches)
        assert one != two
        assert len(one) == 1024


@pytest.mark.parametrize(
    ("argument", "value", "meant"),
    [
        ("delay_seconds", "5", a.DUE_AT),
        ("max_attempts", "3", a.MAX_ATTEMPTS),
        ("job_id", 17, a.JOB_ID),
        ("queue", b"images", a.QUEUE),
        ("trigger_name", 123, a.TRIGGER_NAME),
    ],
)
def test_an_argument_with_one_plain_meaning_is_converted_without_a_word(argument, value, meant):
    before = sum(errors.fault_counts().values())
    with capture_jobs() as captured:
        more = {"trigger": "manual"} if argument == "trigger_name" else {}
        with otjobs.dispatching("t", **{argument: value}, **more):
            pass
        assert meant in captured.dispatches[0].attributes
    assert sum(errors.fault_counts().values()) == before


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("labels", ["tenant"]),
        ("delay_seconds", "soon"),
        ("delay_seconds", float("nan")),
        ("max_attempts", 2.5),
        ("queue", ["images"]),
        ("job_id", object()),
        ("expires_at", "tomorrow"),
        ("due_at", float("nan")),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(argument, value, caplog, monkeypatch):
    monkeypatch.setattr(faults, "_last_logged", {})
    with capture_jobs() as captured:
        with otjobs.dispatching("t", **{argument: value}):
            pass
        assert len(captured.dispatches) == 1
    (line,) = [r.message for r in caplog.records if r.name == "otjobs"]
    assert argument in line
    assert "should be" in line
