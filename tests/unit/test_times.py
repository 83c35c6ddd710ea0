"""Times from outside: mended where they come in, or left out, with a counted warning that names them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

import otjobs
from otjobs import attributes as a
from otjobs import faults, times
from otjobs.carrier import decode
from otjobs.testing import TickingClock, capture_jobs
from otjobs.times import EARLIEST, LATEST, deadline, moment

SECOND = 1_000_000_000
NOW = 1_795_000_000 * SECOND


@pytest.fixture(autouse=True)
def _loud(monkeypatch):
    monkeypatch.setattr(faults, "_last_logged", {})


def logged(caplog):
    return [r.message for r in caplog.records if r.name == "otjobs"]


RIGHT = [
    (None, None),
    (0, None),
    (NOW, NOW),
    (float(NOW), NOW),
    (str(NOW), NOW),
    (datetime(2026, 1, 1, tzinfo=UTC), 1_767_225_600 * SECOND),
    (datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))), 1_767_218_400 * SECOND),
    (datetime(2026, 1, 1, microsecond=1, tzinfo=UTC), 1_767_225_600 * SECOND + 1000),
    ("2026-01-01T00:00:00+00:00", 1_767_225_600 * SECOND),
]


@pytest.mark.parametrize(("value", "meant"), RIGHT)
@pytest.mark.parametrize("read", [deadline, moment])
def test_a_time_in_another_form_is_converted_without_a_word(read, value, meant, caplog):
    assert read(value, "x") == meant
    assert logged(caplog) == []


def test_a_time_without_a_zone_is_local(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert deadline(datetime(2026, 1, 1, 9), "x") == 1_767_225_600 * SECOND
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("value", "meant", "unit"),
    [
        (1_795_000_000, NOW, "seconds"),
        (1_795_000_000.5, NOW + SECOND // 2, "seconds"),
        (1_795_000_000_000, NOW, "milliseconds"),
        (1_795_000_000_000_000, NOW, "microseconds"),
    ],
)
@pytest.mark.parametrize("read", [deadline, moment])
def test_another_unit_is_recognised_and_named(read, value, meant, unit, caplog):
    assert read(value, "started_at") == meant
    (line,) = logged(caplog)
    assert f"started_at is {value}" in line
    assert unit in line
    assert "unix nanoseconds" in line


BEYOND = [
    (datetime(2300, 1, 1, tzinfo=UTC), LATEST),
    (datetime.max, LATEST),
    (2**63, LATEST),
    (10**400, LATEST),
    (float("inf"), LATEST),
    (1e300, LATEST),
    ("2300-01-01T00:00:00Z", LATEST),
    (datetime(1960, 1, 1, tzinfo=UTC), EARLIEST),
    (datetime.min, EARLIEST),
    (-5, EARLIEST),
    (-(10**400), EARLIEST),
    (-float("inf"), EARLIEST),
]


@pytest.mark.parametrize(("value", "edge"), BEYOND)
def test_a_far_deadline_is_moved_to_the_edge_and_a_far_moment_left_out(value, edge, caplog):
    assert deadline(value, "due_at") == edge
    assert moment(value, "started_at") is None
    for line, name in zip(logged(caplog), ("due_at", "started_at"), strict=True):
        assert name in line


@pytest.mark.parametrize("value", [float("nan"), "tomorrow", b"5", True, [], object(), {}, "", timedelta(1)])
@pytest.mark.parametrize("read", [deadline, moment])
def test_what_is_no_time_is_left_out_and_named(read, value, caplog):
    assert read(value, "due_at") is None
    (line,) = logged(caplog)
    assert "due_at" in line
    assert "unix nanoseconds" in line


@pytest.mark.parametrize("edge", [EARLIEST, LATEST])
def test_an_edge_stays_where_it_is(edge, caplog):
    """What was moved once is not taken for another unit by the next who reads it."""
    assert deadline(deadline(edge, "x"), "x") == edge
    assert moment(edge, "x") == edge
    assert decode({"due_at": str(edge)}).fields["due_at"] == edge
    assert logged(caplog) == []


def test_a_delay_beyond_every_calendar_is_as_late_as_can_be_written():
    assert times.after(NOW, 5) == NOW + 5 * SECOND
    assert times.after(NOW, float("inf")) == times.after(NOW, 1e300) == LATEST


def test_a_job_due_in_the_year_2300_is_scheduled_for_as_late_as_can_be_written(caplog):
    with capture_jobs(clock=TickingClock()) as captured:
        with otjobs.dispatching("a", due_at=datetime(2300, 1, 1, tzinfo=UTC), expires_at=10**30) as d:
            pass
        with otjobs.executing(d.carrier):
            pass
    for span in captured.spans:
        assert (span.attributes[a.DUE_AT], span.attributes[a.EXPIRES_AT]) == (LATEST, LATEST)
    encode_spans(captured.spans)
    assert [line.split("otjobs: ")[1].split(" (")[0] for line in logged(caplog)] == [
        "a time outside of 1973 to 2260 was moved to the edge of it"
    ]


@pytest.mark.parametrize("field", ["enqueued_at", "published_at", "workflow_started_at", "first_started_at"])
@pytest.mark.parametrize("value", ["1", "-5", "9" * 18, "9223372036854775807", "9" * 30, "x"])
def test_a_clock_reading_in_a_carrier_is_sound_or_unknown(field, value):
    found = decode({"id": "1", field: value}).fields.get(field)
    assert found is None or EARLIEST <= found <= LATEST


@pytest.mark.parametrize(
    "started_at",
    [time.time() * 1e9, -1, -time.time_ns(), 2**70, float("nan"), time.time(), datetime.now(tz=UTC), "x"],
    ids=["a float", "-1", "negative", "2**70", "nan", "seconds", "a datetime", "x"],  # the same in every process
)
def test_a_report_with_an_odd_time_costs_neither_its_batch_nor_itself(started_at):
    """A float costs 400 of 400 spans otherwise."""
    with capture_jobs() as captured:
        for number in range(400):
            with otjobs.dispatching("a", job_id=str(number)) as d:
                pass
            otjobs.ended(d.carrier, "failure", started_at=started_at if number == 200 else None, ended_at=started_at)
        spans = captured.spans
        assert len(encode_spans(spans).resource_spans[0].scope_spans[0].spans) == 800
        assert all(type(t) is int and t > EARLIEST for s in spans for t in (s.start_time, s.end_time))
        assert all(s.start_time <= s.end_time for s in spans)
