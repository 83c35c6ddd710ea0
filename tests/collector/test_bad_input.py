"""Bad input through the real collector into the real ClickHouse: a clear status, neighbours kept, nothing blocked.

A span that ClickHouse refuses would come back for ever and hold up all others. So every test ends with a good span
that must arrive, after the bad one was accepted or refused.
"""

from __future__ import annotations

import gzip
import zlib

import clickhouses
import pytest
import wire
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValueList
from wire import NOW, SECOND, request, span, stored, value

pytestmark = [pytest.mark.collector, pytest.mark.clickhouse]

YEAR_2200 = 7_258_118_400 * SECOND
DAY = 86_400 * SECOND


@pytest.fixture(scope="module")
def shared(tmp_path_factory, collector_binary, clickhouse):
    """One gateway for all tests here: what one of them breaks, the next one sees."""
    from otjobs.backend.store import connect
    from otjobs.backend.store.migrate import migrate

    store = connect(clickhouse.database_url("bad_input"))
    migrate(store)
    folder = tmp_path_factory.mktemp("bad") / "gateway"
    with wire.running(wire.gateway(collector_binary, folder, clickhouse, "bad_input")) as collector:
        yield collector, store
    store.close()
    clickhouse.query("DROP DATABASE bad_input")


@pytest.fixture
def gateway(shared):
    collector, store = shared
    clickhouses.empty(store)
    yield collector
    assert collector.process.running()
    assert "panic" not in collector.process.log.read_text()


@pytest.fixture
def store(shared):
    return shared[1]


def check(gateway, store, *bad, jobs=(), columns="job_id"):
    """Post bad spans between two good ones; give the rows of the attempts view that are not the neighbours."""
    assert gateway.post(request(span("before"), *bad, span("after"))).status_code == 200
    assert gateway.post(request(span("later"))).status_code == 200
    stored(store, ["before", "after", "later", *jobs])
    readable(store)
    return store.query(
        f"SELECT {columns} FROM attempts WHERE job_id NOT IN ('before', 'after', 'later') ORDER BY job_id, attempt"
    ).rows


def readable(store):
    """Every contract view can still be read."""
    for view in ("jobs", "attempts", "workflows"):
        store.query(f"SELECT * FROM {view}")


GARBAGE = {
    "random": b"\xff\xfe\x00garbage",
    "truncated": request(span("cut")).SerializeToString()[:-7],
    "a length beyond the end": b"\x0a\xff\xff\xff\xff\x0f",
    "json as protobuf": b'{"resourceSpans": []}',
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_for_good(gateway, store, name):
    assert gateway.post(GARBAGE[name]).status_code == 400
    assert check(gateway, store) == []


def test_an_empty_request_is_accepted(gateway, store):
    assert gateway.post(b"").status_code == 200
    assert check(gateway, store) == []


@pytest.mark.parametrize("encoding", ["br", "rot13", "gzip, gzip"])
def test_an_unknown_compression_is_refused_for_good(gateway, store, encoding):
    assert gateway.post(request(span("odd")), Content_Encoding=encoding).status_code == 400
    assert check(gateway, store) == []


def test_what_is_not_compressed_as_it_says_is_refused(gateway, store):
    assert gateway.post(request(span("odd")), Content_Encoding="gzip").status_code == 400
    assert check(gateway, store) == []


def test_known_compressions_are_read(gateway, store):
    for job, encoding, pack in (("1", "gzip", gzip.compress), ("2", "deflate", zlib.compress)):
        assert gateway.post(pack(request(span(job)).SerializeToString()), Content_Encoding=encoding).status_code == 200
    stored(store, ["1", "2"])


def test_an_unknown_content_type_is_refused(gateway, store):
    assert gateway.post(request(span("odd")), Content_Type="text/plain").status_code == 415
    assert check(gateway, store) == []


def test_a_bomb_is_refused(gateway, store):
    # 64 MiB of zeros, in 64 KiB
    assert gateway.post(gzip.compress(b"\0" * (64 << 20)), Content_Encoding="gzip").status_code == 400
    assert check(gateway, store) == []


def test_spans_without_ids_make_no_job_and_keep_their_neighbours(gateway, store):
    none, zero = b"", bytes(16)
    bad = [
        span("a", trace=none),
        span("b", trace=zero),
        span("c", trace=b"c" * 16, span_id=b""),
        span("d", span_id=bytes(8)),
    ]
    # A span id is needed by nothing: the ids of the job are there.
    assert check(gateway, store, *bad, jobs="cd") == [("c",), ("d",)]


def test_ids_of_a_wrong_length_refuse_the_request(gateway, store):
    assert gateway.post(request(span("short", trace=b"abc"))).status_code == 400
    assert check(gateway, store) == []


def test_spans_without_job_data_are_stored_and_make_no_job(gateway, store):
    bad = [
        span("", otjobs__job__type="work"),
        span("no operation", messaging__operation__type=None),
        span("odd operation", messaging__operation__type="settle"),
    ]
    assert check(gateway, store, *bad) == []


def test_an_end_before_the_start_is_a_run_of_no_length(gateway, store):
    rows = check(
        gateway, store, span("back", end=NOW - 5 * SECOND), jobs=["back"], columns="job_id, run_seconds, outcome"
    )
    assert rows == [("back", 0.0, "success")]


TIMES = {
    "zero": 0,
    "1970": 5 * SECOND,
    "2200": YEAR_2200,
    "the last of int64": 2**63 - 1,
    "beyond int64": 2**63 + 1000,
    "the last of uint64": 2**64 - 1,
    "1850 as int64": 2**64 - 120 * 365 * DAY,
}


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("enqueued", ["the same", "now"])
def test_a_time_far_off_fails_no_insert(gateway, store, name, enqueued):
    time = TIMES[name]
    enqueued_at = NOW - SECOND if enqueued == "now" else time if time < 2**63 else str(time)
    bad = span("far", start=time, end=min(time + SECOND, 2**64 - 1), otjobs__job__enqueued_at=enqueued_at)
    event = bad.events.add(name="exception", time_unix_nano=time)
    event.attributes.add(key="exception.type").value.string_value = "Far"
    assert check(gateway, store, bad, jobs=["far"]) == [("far",)]


@pytest.mark.parametrize("name", ["published_at", "due_at", "expires_at", "received_at", "first_started_at"])
def test_odd_time_attributes_fail_no_insert(gateway, store, name):
    bad, jobs = [], []
    times = [-1, 0, 1, YEAR_2200, 2**63 - 1, -(2**63), "9" * 40, "soon", 1.5e18, float("nan"), True]
    for number, time in enumerate(times):
        odd = {f"otjobs__job__{name}": time, "otjobs__workflow__started_at": time}
        job = f"odd{number:02}"
        bad += [span(job, kind="send", **odd), span(job, **odd), span(job, otjobs__job__attempt=2, **odd)]
        jobs += [(job, 1), (job, 2)]
    assert check(gateway, store, *bad, jobs=[job for job, _ in jobs], columns="job_id, attempt") == jobs


def test_enqueue_days_over_a_year_in_one_batch(gateway, store):
    days = [span(f"day{n}", start=NOW - n * DAY, otjobs__job__enqueued_at=NOW - n * DAY - SECOND) for n in range(366)]
    check(gateway, store, *days, jobs=[f"day{n}" for n in range(366)])
    assert store.query("SELECT uniqExact(toDate(enqueued_at)) FROM attempts WHERE job_id LIKE 'day%'").rows == [(366,)]


def test_ten_thousand_spans_in_one_request(gateway, store):
    check(gateway, store, *(span(f"many{n}") for n in range(10_000)), jobs=[f"many{n}" for n in range(10_000)])
    assert store.query("SELECT count(), countIf(state = 'succeeded') FROM jobs").rows == [(10_003, 10_003)]


ODD = [
    "text",
    "",
    "NaN",
    "inf",
    -1,
    2**63 - 1,
    1.5,
    float("nan"),
    float("inf"),
    -1e308,
    True,
    b"\x00\xff",
    [1, "a"],
    AnyValue(),
    AnyValue(kvlist_value=KeyValueList()),
    "\x00",
    "é" * 5000,
    "x" * 100_000,
]
NUMBERS = [
    "otjobs.job.attempt",
    "otjobs.job.max_attempts",
    "otjobs.job.dispatched",
    "otjobs.job.parent.attempt",
    "otjobs.workflow.roots",
    "otjobs.job.cpu_seconds",
    "otjobs.beacon.interval_seconds",
    "otjobs.job.redelivered",
    "otjobs.job.dead_letter",
    "otjobs.job.observed",
    "otjobs.job.enqueued_at",
    "otjobs.workflow.started_at",
]
TEXTS = [
    "messaging.system",
    "messaging.destination.name",
    "otjobs.job.queue",
    "otjobs.job.parent.id",
    "otjobs.job.parent.type",
    "otjobs.workflow.id",
    "otjobs.workflow.type",
    "otjobs.job.outcome",
    "otjobs.worker",
    "otjobs.trigger",
    "error.type",
    "otjobs.trigger.name",
    "otjobs.group.id",
    "otjobs.label.odd",
    "otjobs.label.",
    "otjobs.job.producer",
]


@pytest.mark.parametrize("name", NUMBERS + TEXTS)
def test_attributes_of_a_wrong_type_fail_no_insert(gateway, store, name):
    bad = []
    for number, odd in enumerate(ODD):
        for kind in ("send", "receive", "process"):
            more = {"otjobs__job__parent__id": "p", name.replace(".", "__"): odd}
            bad.append(span(f"odd{number}", kind=kind, **more))
    check(gateway, store, *bad, jobs=[f"odd{number}" for number in range(len(ODD))])


def test_ids_and_types_that_are_no_text(gateway, store):
    bad = [span("x", **{f"{name}": odd}) for odd in ODD for name in ("messaging__message__id", "otjobs__job__type")]
    assert gateway.post(request(span("before"), *bad)).status_code == 200
    assert gateway.post(request(span("later"))).status_code == 200
    wire.parts.wait_until(
        lambda: {"before", "later"} <= {r[0] for r in store.query("SELECT job_id FROM attempts").rows}, seconds=30
    )
    readable(store)


def test_invalid_utf8_and_repeated_keys(gateway, store):
    # Given a text that is no UTF-8 (the wire format forbids it) and a key that appears twice
    bad = span("utf8", otjobs__worker="BADTEXT!", otjobs__label__tenant="one")
    bad.attributes.add(key="otjobs.label.tenant").value.CopyFrom(value("two"))
    body = (
        request(span("before"), bad, span("after"))
        .SerializeToString()
        .replace(b"BADTEXT!", b"\xff\xfe\xc0\xaf\xed\xa0\x80\x00")
    )
    assert gateway.post(body).status_code == 200
    assert gateway.post(request(span("later"))).status_code == 200
    stored(store, ["later", "before", "after", "utf8"])
    readable(store)


def test_labels_that_differ_within_a_job_can_be_read(gateway, store):
    bad = [span("l", kind="send", otjobs__label__a="1"), span("l", otjobs__label__a="2", otjobs__label__b="3")]
    assert check(gateway, store, *bad, jobs="l") == [("l",)]
    assert store.query("SELECT labels['b'] FROM jobs WHERE job_id = 'l'").rows == [("3",)]
