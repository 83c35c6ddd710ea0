"""What an insert cannot see, a later look at the trace does: inserts of one moment, and traces of very many spans."""

from __future__ import annotations

import pytest
from stock import T, bull, celery_run, celery_send, look_again, new_id
from test_pairing import HISTORIES, figures

MANY = 60_000
"""Spans of a trace that is not paired for a few more spans of it (see 007_foreign.sql)."""

BIG = """
INSERT INTO otel_traces (Timestamp, TraceId, SpanId, ParentSpanId, SpanKind, ServiceName, SpanAttributes, Duration)
SELECT fromUnixTimestamp64Nano({start} + (n * 2 + is_run) * 1000000), repeat('b', 32), lower(hex(n * 2 + is_run + 1)), if(is_run, lower(hex(n * 2 + 1)), ''),
    if(is_run, 'Consumer', 'Producer'), 'svc',
    map('celery.action', if(is_run, 'run', 'apply_async'), 'celery.task_name', 'mail.send', 'celery.state', 'SUCCESS', 'messaging.message.id', toString(n),
        'messaging.destination', 'mail'), 500000
FROM (SELECT number AS n FROM numbers({first}, {count})) ARRAY JOIN [0, 1] AS is_run
SETTINGS max_block_size = 200000, max_insert_block_size = 200000, min_insert_block_size_rows = 200000
"""


def hold_back(store, spans, kept):
    """Insert spans with `kept` of the stored ones out of sight, as an insert of the same moment has them."""
    store.command("CREATE TABLE held AS foreign_spans")
    store.insert_spans(kept)
    days = [day for (day,) in store.query("SELECT DISTINCT day FROM foreign_spans").rows]
    for day in days:
        store.command(f"ALTER TABLE foreign_spans MOVE PARTITION '{day}' TO TABLE held")
    store.insert_spans(spans)
    for day in days:  # not by an insert, which would look at the trace
        store.command(f"ALTER TABLE foreign_spans ATTACH PARTITION '{day}' FROM held")
    store.command("DROP TABLE held SYNC")


def looks(store):
    return store.query("SELECT workflow_id, max(looked) FROM foreign_spans GROUP BY workflow_id ORDER BY ALL").rows


@pytest.mark.parametrize("name", HISTORIES)
def test_inserts_of_one_moment_are_put_together(store, name):
    spans = HISTORIES[name]()
    store.insert_spans(spans)
    expected = figures(store)
    for table in (
        "foreign_spans",
        "attempt_states",
        "minute_marks",
        "workflow_marks",
        "dispatch_failures",
        "otel_traces",
    ):
        store.command(f"TRUNCATE TABLE {table}")
    hold_back(store, spans[::2], spans[1::2])
    assert figures(store) != expected
    look_again(store)
    assert figures(store) == expected


def test_a_trace_is_looked_at_once(store):
    sent = new_id()
    store.insert_spans([celery_send("job", 0, span_id=sent)])
    look_again(store, seconds=0)  # not quiet for long enough
    assert looks(store)[0][1].timestamp() <= 0
    look_again(store)
    first = looks(store)
    assert first[0][1].timestamp() > 0
    look_again(store, seconds=0)
    assert looks(store) == first
    # Another span of it, and it is looked at once more.
    store.insert_spans([celery_run("job", 1, 2, parent=sent)])
    look_again(store)
    second = looks(store)
    assert second > first
    look_again(store, seconds=0)
    assert looks(store) == second


def jobs_of(store):
    return store.query(
        "SELECT count(), countIf(state = 'succeeded'), countIf(isNotNull(queue_seconds)) FROM jobs"
    ).rows[0]


def test_a_trace_of_very_many_spans_waits_for_its_look(store):
    store.command(BIG.format(start=T, first=0, count=MANY // 2))
    assert jobs_of(store) == (MANY // 2,) * 3
    few = 50
    store.command(BIG.format(start=T, first=MANY // 2, count=few))
    # In the meantime other traces are paired as ever, also by the same insert.
    assert jobs_of(store) == (MANY // 2,) * 3
    store.insert_spans([bull("Producer", "add", 0, 0.1, job="1", trace="c" * 32)])
    assert jobs_of(store) == (MANY // 2 + 1, MANY // 2, MANY // 2)
    look_again(store)
    assert jobs_of(store) == (MANY // 2 + few + 1, MANY // 2 + few, MANY // 2 + few)
    # Much that is new is worth pairing it.
    store.command(BIG.format(start=T, first=MANY // 2 + few, count=MANY // 2))
    assert jobs_of(store)[1] == MANY + few
