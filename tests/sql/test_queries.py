"""Every named query on a small history made by hand, with the rows it must give written out.

Moments are seconds after the start of the history, which begins at a full five minutes of the last hour.
"""

from __future__ import annotations

import itertools
import math
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import clickhouses
import parts
import pytest
from expected_rows import EMPTY, EXPECTED, OPEN, OPEN_ENDED, ORDER, PARAMETERS, REPORT, Day, Elapsed

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate
from otjobs.backend.store.sql_files import named_query, query_names, read
from otjobs.testing import job_span_row

# Both are set when the history is told, which may be long after this module was imported.
BEGAN = 0  # seconds
IDS = itertools.count(1)


def span(operation, trace, job, job_type, queue, began, ended, service, release="1", status="Unset", **told):
    """A span; times are seconds after BEGAN, and `child` says that the order dispatched it."""
    if told.pop("child", False):
        told |= {"parent_id": "1", "parent_type": "order", "parent_attempt": 1}
        told |= {"workflow_type": "order", "workflow_started_at": 0}
    told = {
        name: int((BEGAN + value) * 1_000_000_000) if name.endswith("_at") else value for name, value in told.items()
    }
    times = [BEGAN * 1_000_000_000 + int(seconds * 1e9) for seconds in (began, ended)]
    named = {"trace_id": trace, "job_id": job, "job_type": job_type, "queue": queue, "service": service}
    own = {"span_id": f"{next(IDS):016x}", "status": status}
    resource = {"service.version": release, "host.name": "box"}
    return tuple(job_span_row(operation, *times, **named, **own, resource=resource, **told).values())


def history():
    """What happened.

    An order is taken at a checkout; its first attempt dispatches a mail and fails, its second succeeds. The mail fails
    for good. A nightly report waits ten seconds and runs for thirty; its spans are stored twice. Another report still
    waits, one runs since long, and the publish of one failed.
    """
    order = {"enqueued_at": 0, "trigger": "request", "trigger_name": "/checkout", "max_attempts": 3, "producer": "web"}
    mail = {"enqueued_at": 3, "child": True, "labels": {"customer": "acme"}, "producer": "shop"}
    night = {"trigger": "schedule", "trigger_name": "nightly", "labels": {"customer": "acme"}, "producer": "beat"}
    run = {"attempt": 1, "worker": "w1"}
    report = [
        span("send", REPORT, "r1", "report", "batch", 60, 60, "beat", enqueued_at=60, **night),
        span("process", REPORT, "r1", "report", "batch", 70, 100, "shop", "2", enqueued_at=60, outcome="success",
            dispatched=0, **night, **run),
    ]  # fmt: skip
    return [
        span("send", ORDER, "1", "order", "orders", 0, 0, "web", **order),
        span("process", ORDER, "1", "order", "orders", 2, 5, "shop", outcome="retry", error_type="Timeout", dispatched=1,
            **order, **run),
        span("process", ORDER, "1", "order", "orders", 12, 15, "shop", outcome="success", dispatched=0, attempt=2,
            published_at=5, due_at=11, worker="w1", **order),
        span("send", ORDER, "2", "mail", "mails", 3, 3, "shop", **mail),
        span("process", ORDER, "2", "mail", "mails", 4, 5, "shop", outcome="failure", error_type="Refused", dispatched=0,
            dead_letter="true", redelivered="true", **mail, **run),
        *report,
        *report,
        span("send", OPEN, "w1", "report", "batch", 120, 120, "beat", enqueued_at=120, **night),
        span("receive", OPEN, "x1", "report", "batch", 130, 131, "nights", "2", enqueued_at=125, beacon_interval=30, **night, **run),
        span("send", "d" * 32, "f1", "report", "batch", 140, 140, "beat", status="Error", enqueued_at=140, **night),
    ]  # fmt: skip


def plain(value):
    if isinstance(value, datetime):
        return round(value.timestamp() - BEGAN, 6)
    return round(value, 6) if isinstance(value, float) else value


def equal(wanted, got):
    if isinstance(wanted, Elapsed):
        return abs(time.time() - BEGAN - wanted.since - got) < 120
    if isinstance(wanted, Day):
        return got == datetime.fromtimestamp(BEGAN + wanted.at, UTC).date()
    if isinstance(wanted, float) and isinstance(got, float):
        return math.isclose(wanted, got, abs_tol=1e-5)
    return wanted == got


@contextmanager
def one_database(folder):
    found = connect(f"chdb://{folder}")
    migrate(found)
    found.command("SYSTEM STOP VIEWS")
    yield found
    found.close()


@contextmanager
def two_shards(folder):
    with clickhouses.clickhouse_cluster(folder) as servers:
        stores = clickhouses.over_shards(servers, "otjobs")
        for server in servers:
            server.query("SYSTEM STOP VIEWS")
        yield stores[0]
        for found in stores:
            found.close()


@pytest.fixture(scope="module", params=[one_database, two_shards])
def store(request, tmp_path_factory):
    global BEGAN, IDS
    with request.param(tmp_path_factory.mktemp("queries")) as found:
        BEGAN, IDS = time.time_ns() // 300_000_000_000 * 300 - 2400, itertools.count(1)
        tell(found)
        yield found


def tell(found):
    # Nothing there: no query has a row, but those that count all there is.
    for name in query_names():
        assert found.named(name).rows == EMPTY.get(name, []), name
    found.insert_spans(history())


@pytest.mark.parametrize("name", query_names())
def test_named_query(store, name):
    got = [tuple(plain(value) for value in row) for row in store.named(name, **PARAMETERS.get(name, {})).rows]
    wanted = EXPECTED[name]
    if name in OPEN_ENDED:
        got = got[: len(wanted)]
    assert len(got) == len(wanted), got
    for wanted_row, row in zip(wanted, got, strict=True):
        assert len(row) == len(wanted_row), row
        assert all(equal(a, b) for a, b in zip(wanted_row, row, strict=True)), f"{row} should be {wanted_row}"


def test_every_query_says_what_it_answers():
    for name in query_names():
        query = named_query(name)
        assert query.summary.endswith((".", "?")), name
        assert all(query.meanings.values()), name
        assert all(f"{{{key}:" in query.sql for key in query.types), name


def test_every_column_of_every_contract_view_is_documented(store):
    reference = parts.tool("sql_reference")
    for view in reference.VIEWS:
        assert list(reference.types(store, view)) == list(reference.documented(view)), view
        store.query("EXPLAIN " + read("reference", view))


def test_the_reference_is_what_the_sources_say(store):
    reference = parts.tool("sql_reference")
    assert reference.FILE.read_text() == reference.render(store), "stale: run python tools/sql_reference.py"
