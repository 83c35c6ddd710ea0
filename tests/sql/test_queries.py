"""Every named query on a small history made by hand, with the rows it must give written out.

Moments are seconds after the start of the history, which begins at a full five minutes of the last hour.
"""

from __future__ import annotations

import itertools
import math
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import clickhouses
import parts
import pytest
from expected_rows import EMPTY, EXPECTED, OPEN, OPEN_ENDED, ORDER, PARAMETERS, REPORT, Day, Elapsed

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate
from otjobs.backend.store.sql_files import named_query, query_names, read

# Both are set when the history is told, which may be long after this module was imported.
BEGAN = 0  # seconds
IDS = itertools.count(1)

NAMES = {
    "attempt": "otjobs.job.attempt",
    "due_at": "otjobs.job.due_at",
    "published_at": "otjobs.job.published_at",
    "enqueued_at": "otjobs.job.enqueued_at",
    "outcome": "otjobs.job.outcome",
    "dispatched": "otjobs.job.dispatched",
    "dead_letter": "otjobs.job.dead_letter",
    "redelivered": "otjobs.job.redelivered",
    "max_attempts": "otjobs.job.max_attempts",
    "producer": "otjobs.job.producer",
    "error": "error.type",
    "trigger": "otjobs.trigger",
    "trigger_name": "otjobs.trigger.name",
    "customer": "otjobs.label.customer",
    "worker": "otjobs.worker",
    "interval": "otjobs.beacon.interval_seconds",
}


def span(operation, trace, job, job_type, queue, began, ended, service, release="1", status="Unset", **more):
    told = {
        "messaging.system": "celery",
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        "messaging.message.id": job,
        "otjobs.job.type": job_type,
    }
    for name, value in more.items():
        if name.endswith("_at"):
            told[NAMES[name]] = str(int((BEGAN + value) * 1_000_000_000))
        elif name != "child":
            told[NAMES[name]] = str(value)
    if more.get("child"):
        told |= {
            "otjobs.job.parent.id": "1",
            "otjobs.job.parent.type": "order",
            "otjobs.job.parent.attempt": "1",
            "otjobs.workflow.type": "order",
            "otjobs.workflow.started_at": str(BEGAN * 1_000_000_000),
        }
    resource = {"service.name": service, "service.version": release, "host.name": "box"}
    at = datetime.fromtimestamp(BEGAN, UTC) + timedelta(seconds=began)
    identity = (at, trace, f"{next(IDS):016x}", "", "", f"{operation} {job_type}", "Internal", service, resource)
    return (*identity, "otjobs", "", told, int((ended - began) * 1e9), status, "", *([[]] * 7))


def history():
    """What happened.

    An order is taken at a checkout; its first attempt dispatches a mail and fails, its second succeeds. The mail fails
    for good. A nightly report waits ten seconds and runs for thirty; its spans are stored twice. Another report still
    waits, one runs since long, and the publish of one failed.
    """
    order = {"enqueued_at": 0, "trigger": "request", "trigger_name": "/checkout", "max_attempts": 3, "producer": "web"}
    mail = {"enqueued_at": 3, "child": True, "customer": "acme", "producer": "shop"}
    night = {"trigger": "schedule", "trigger_name": "nightly", "customer": "acme", "producer": "beat"}
    run = {"attempt": 1, "worker": "w1"}
    report = [
        span("send", REPORT, "r1", "report", "batch", 60, 60, "beat", enqueued_at=60, **night),
        span("process", REPORT, "r1", "report", "batch", 70, 100, "shop", "2", enqueued_at=60, outcome="success",
            dispatched=0, **night, **run),
    ]  # fmt: skip
    return [
        span("send", ORDER, "1", "order", "orders", 0, 0, "web", **order),
        span("process", ORDER, "1", "order", "orders", 2, 5, "shop", outcome="retry", error="Timeout", dispatched=1,
            **order, **run),
        span("process", ORDER, "1", "order", "orders", 12, 15, "shop", outcome="success", dispatched=0, attempt=2,
            published_at=5, due_at=11, worker="w1", **order),
        span("send", ORDER, "2", "mail", "mails", 3, 3, "shop", **mail),
        span("process", ORDER, "2", "mail", "mails", 4, 5, "shop", outcome="failure", error="Refused", dispatched=0,
            dead_letter="true", redelivered="true", **mail, **run),
        *report,
        *report,
        span("send", OPEN, "w1", "report", "batch", 120, 120, "beat", enqueued_at=120, **night),
        span("receive", OPEN, "x1", "report", "batch", 130, 131, "nights", "2", enqueued_at=125, interval=30, **night, **run),
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
