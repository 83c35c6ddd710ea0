"""Migrations and views on chDB: what a small history must give, whatever order it arrives in."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import clickhouses
import pytest

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate, migrations
from otjobs.errors import NewerSchemaError, QueryError, StoreUnreachableError
from otjobs.testing import job_span_row

T = 1_790_000_000_000_000_000
S = 1_000_000_000
TRACE = "a" * 32
_ids = itertools.count(1)


def moment(ns):
    return datetime.fromtimestamp(ns // S, UTC) + timedelta(microseconds=ns % S // 1000)


def span(operation, job_id, job_type, start, seconds=0.0, status="Unset", service="svc", trace=TRACE, **told):
    named = {"trace_id": trace, "job_id": job_id, "job_type": job_type, "queue": "q", "service": service}
    own = {"span_id": f"{next(_ids):016x}", "status": status}
    return tuple(job_span_row(operation, start, start + int(seconds * S), **named, **own, **told).values())


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    found = connect(f"chdb://{tmp_path_factory.mktemp('store')}")
    assert migrate(found) == [version for version, _, _ in migrations()]
    yield found
    found.close()


@pytest.fixture
def empty(store):
    clickhouses.empty(store)
    return store


def history():
    """An order that retries once and dispatches a mail."""
    return [
        span("send", "1", "order", T, enqueued_at=T),
        span(
            "process",
            "1",
            "order",
            T + 2 * S,
            3,
            enqueued_at=T,
            attempt=1,
            outcome="retry",
            error_type="Timeout",
            dispatched=1,
        ),
        span(
            "process",
            "1",
            "order",
            T + 12 * S,
            3,
            enqueued_at=T,
            attempt=2,
            outcome="success",
            dispatched=0,
            published_at=T + 5 * S,
            due_at=T + 11 * S,
        ),
        span(
            "send",
            "2",
            "mail",
            T + 3 * S,
            enqueued_at=T + 3 * S,
            parent_id="1",
            parent_type="order",
            parent_attempt=1,
            workflow_type="order",
            workflow_started_at=T,
        ),
        span(
            "process",
            "2",
            "mail",
            T + 4 * S,
            1,
            enqueued_at=T + 3 * S,
            attempt=1,
            outcome="failure",
            error_type="Refused",
            dispatched=0,
            dead_letter=True,
            parent_id="1",
            parent_type="order",
            parent_attempt=1,
            workflow_type="order",
            workflow_started_at=T,
        ),
    ]


def figures(store):
    jobs = store.query(
        "SELECT job_id, state, attempts, queue_seconds, run_seconds, delay_seconds, error_type, dispatched, workflow_type FROM jobs ORDER BY job_id"
    ).rows
    attempts = store.query(
        "SELECT job_id, attempt, outcome, queue_seconds, run_seconds FROM attempts ORDER BY job_id, attempt"
    ).rows
    workflows = store.query(
        "SELECT workflow_type, complete, jobs, open_jobs, failed_jobs, attempts, wall_seconds, queue_seconds, run_seconds FROM workflows"
    ).rows
    return jobs, attempts, workflows


WHOLE = (
    [("1", "succeeded", 2, 2.0, 6.0, 0.0, "", 1, "order"), ("2", "failed", 1, 1.0, 1.0, 0.0, "Refused", 0, "order")],
    [("1", 1, "retry", 2.0, 3.0), ("1", 2, "success", 1.0, 3.0), ("2", 1, "failure", 1.0, 1.0)],
    [("order", 1, 2, 0, 1, 3, 15.0, 3.0, 7.0)],
)


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_the_same_whatever_the_delivery(empty, seed):
    # Given the same spans, repeated up to three times, shuffled, in batches of any size
    rng = random.Random(seed)
    spans = [s for s in history() for _ in range(rng.randint(1, 3))]
    rng.shuffle(spans)
    while spans:
        size = rng.randint(1, len(spans))
        empty.insert_spans(spans[:size])
        spans = spans[size:]
    assert figures(empty) == WHOLE


def test_figures_do_not_need_the_dispatch_spans(empty):
    empty.insert_spans([s for s in history() if not s[5].startswith("dispatch ")])
    assert figures(empty) == WHOLE


def test_no_workflow_is_complete_before_all_of_it_is_there(empty):
    spans = history()
    needed = {1, 2, 4}  # the execute spans
    # Given a workflow for every order in which five spans can arrive
    orders = {f"{n:032x}": order for n, order in enumerate(itertools.permutations(range(5)), 1)}
    for step in range(5):
        # When the next span of each arrives
        arriving = [(spans[order[step]], trace) for trace, order in orders.items()]
        empty.insert_spans([(row[0], trace, f"{next(_ids):016x}", *row[3:]) for row, trace in arriving])
        # Then those are complete of which all is there
        complete = {trace for (trace,) in empty.query("SELECT workflow_id FROM workflows WHERE complete").rows}
        assert complete == {trace for trace, order in orders.items() if needed <= set(order[: step + 1])}


def test_a_failed_publish_makes_no_job(empty):
    empty.insert_spans([span("send", "1", "t", T, status="Error", enqueued_at=T)])
    assert empty.query("SELECT count() FROM jobs").rows == [(0,)]


def test_a_job_of_an_uninstrumented_producer(empty):
    empty.insert_spans([span("process", "1", "t", T, 1, attempt=1, outcome="retry", dispatched=0)])
    empty.insert_spans([span("process", "1", "t", T + 9 * S, 1, attempt=2, outcome="success", dispatched=0)])
    rows = empty.query("SELECT enqueued_at, ready_at, queue_seconds, state, attempts, producer FROM jobs").rows
    assert rows == [(None, None, None, "succeeded", 2, "")]


def test_a_silent_attempt_is_lost_only_when_its_service_goes_on(empty):
    empty.insert_spans([span("receive", "1", "t", T, 1, enqueued_at=T, attempt=1, beacon_interval=30)])
    assert empty.query("SELECT state FROM jobs").rows == [("running",)]
    empty.insert_spans([span("process", "2", "t", T + 92 * S, 1, enqueued_at=T, attempt=1, outcome="success")])
    assert empty.query("SELECT state, run_seconds FROM jobs WHERE job_id = '1'").rows == [("lost", 1.0)]
    empty.insert_spans([span("process", "1", "t", T, 100, enqueued_at=T, attempt=1, outcome="success")])
    assert empty.query("SELECT state, run_seconds FROM jobs WHERE job_id = '1'").rows == [("succeeded", 100.0)]


def test_one_report_counts_and_it_is_the_own_one(empty):
    own = span("process", "1", "t", T + S, 1, enqueued_at=T, attempt=1, outcome="failure", error_type="Own")
    other = span("process", "1", "t", T, 9, enqueued_at=T, attempt=1, outcome="lost", error_type="Other", observed=True)
    empty.insert_spans([other])
    assert empty.query("SELECT outcome, error_type, run_seconds FROM attempts").rows == [("lost", "Other", 9.0)]
    empty.insert_spans([own])
    assert empty.query("SELECT outcome, error_type, run_seconds FROM attempts").rows == [("failure", "Own", 1.0)]


def test_expired_on_paper_and_by_the_clock(empty):
    empty.insert_spans(
        [
            span("send", "1", "t", T - S, enqueued_at=T - S, expires_at=T),
            span("send", "2", "t", T, enqueued_at=T),
            span("process", "2", "t", T + 5 * S, 0, enqueued_at=T, attempt=1, outcome="expired"),
        ]
    )
    far = datetime.now(UTC) > moment(T)
    rows = empty.query("SELECT job_id, state, attempts, started_at, queue_seconds FROM jobs ORDER BY job_id").rows
    assert rows == [("1", "expired" if far else "waiting", 0, None, None), ("2", "expired", 0, None, None)]


def test_a_redelivered_attempt_has_no_times_of_its_own(empty):
    empty.insert_spans(
        [
            span(
                "process",
                "1",
                "t",
                T + S,
                1,
                enqueued_at=T,
                attempt=2,
                redelivered=True,
                outcome="success",
                dispatched=0,
            )
        ]
    )
    assert empty.query("SELECT published_at, ready_at, queue_seconds FROM attempts").rows == [(None, None, None)]
    assert empty.query("SELECT complete FROM workflows").rows == [(1,)]


def test_bad_times_cost_nobody_anything(empty):
    days = [
        span("process", str(i), "t", T + i * 86400 * S, 1, enqueued_at=T + i * 86400 * S, outcome="success")
        for i in range(200)
    ]
    bad = [
        span("process", "1970", "t", T, 1, enqueued_at=1, outcome="success"),
        span("process", "2200", "t", T, 1, enqueued_at=7_258_118_400 * S, outcome="success"),
        span(
            "process",
            "nonsense",
            "t",
            T,
            1,
            enqueued_at="yesterday",
            attempt="-3",
            dispatched="many",
            outcome="success",
        ),
    ]
    wrapped = list(span("process", "backwards", "t", T, 1, enqueued_at=T, outcome="success"))
    wrapped[12] = 2**64 - 5
    empty.insert_spans([*days, *bad, tuple(wrapped)])
    assert empty.query("SELECT count(), min(run_seconds) FROM jobs").rows == [(204, 0.0)]


def test_named_queries_tell_what_is_wrong(empty):
    empty.insert_spans(history())
    assert [row[2] for row in empty.named("job", job_id="1").rows] == ["order"]
    with pytest.raises(QueryError, match="there is no query named 'x'"):
        empty.named("x")
    with pytest.raises(QueryError, match="no parameter colour"):
        empty.named("jobs", colour="red")


def test_migrating_again_changes_nothing_and_a_newer_database_is_refused(store):
    assert migrate(store) == []
    store.command("INSERT INTO otjobs_migrations (version, name) VALUES (999, 'future')")
    try:
        with pytest.raises(NewerSchemaError, match="schema version 999"):
            migrate(store)
    finally:
        store.command("ALTER TABLE otjobs_migrations DELETE WHERE version = 999 SETTINGS mutations_sync = 1")
    assert migrate(store) == []


def test_nobody_there():
    with pytest.raises(StoreUnreachableError, match="no database answers"):
        connect("http://127.0.0.1:9/otjobs")


@pytest.mark.clickhouse
def test_the_same_on_a_real_server(clickhouse):
    found = connect(f"http://default:@127.0.0.1:{clickhouse.http_port}/otjobs_same")
    migrate(found)
    assert migrate(found) == []
    found.insert_spans(history() + history()[::-1])
    assert figures(found) == WHOLE
    found.close()
