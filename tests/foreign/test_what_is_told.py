"""What the views show of each library's spans, and what they leave unknown."""

from __future__ import annotations

import time

import pytest
from clickhouses import empty
from stock import (
    S,
    T,
    bull,
    celery_run,
    celery_send,
    look_again,
    message,
    moment,
    new_id,
    span,
    taskiq_run,
    taskiq_send,
)
from test_pairing import HISTORIES, figures, trace

from otjobs.backend.store.rebuild import SLICE_SPANS, rebuild
from otjobs.backend.store.rebuild_plan import plan


def jobs(store, columns, where="1"):
    return store.query(f"SELECT {columns} FROM jobs WHERE {where} ORDER BY ALL").rows


def attempts(store, columns, where="1"):
    return store.query(f"SELECT {columns} FROM attempts WHERE {where} ORDER BY ALL").rows


def at(seconds):
    return moment(T + round(seconds * S))


def test_celery(store):
    store.insert_spans(HISTORIES["celery"]())
    assert jobs(
        store,
        "job_id, state, attempts, delay_seconds, queue_seconds, run_seconds, error_type, parent_id, queue, job_type, producer",
    ) == [
        ("job-1", "succeeded", 2, 0.0, 1.0, 4.0, "", "", "mail", "mail.send", "web"),
        ("job-2", "succeeded", 1, 0.0, 0.5, 61.5, "", "job-1", "slow", "report", "worker"),
        ("job-3", "failed", 1, 30.0, 1.0, 1.0, "KeyError", "", "mail", "mail.send", "web"),
        # Whether it has an ETA is not told before it runs.
        ("job-4", "waiting", 0, None, None, None, "", "", "mail", "mail.send", "web"),
    ]
    assert attempts(
        store, "job_id, attempt, published_at, ready_at, queue_seconds, outcome, error_type", "job_id = 'job-1'"
    ) == [
        ("job-1", 1, at(0), at(0), 1.0, "retry", "GatewayTimeout"),
        ("job-1", 2, at(2.5), at(5.5), 1.5, "success", ""),
    ]
    assert store.query("SELECT jobs, complete, wall_seconds FROM workflows ORDER BY ALL").rows == [
        (1, 0, None),
        (1, 1, 32.0),
        (2, 1, 70.0),
    ]


def test_taskiq(store):
    store.insert_spans(HISTORIES["taskiq"]())
    assert jobs(store, "substring(job_id, 32), state, attempts, queue, queue_seconds, run_seconds, error_type") == [
        ("0", "succeeded", 3, "", 2.0, 9.0, ""),
        ("1", "failed", 3, "", 2.0, 9.0, ""),
        ("c", "succeeded", 1, "", 1.0, 1.0, ""),
        ("d", "failed", 1, "", 1.0, 3.0, "ValueError"),
    ]


def test_bullmq(store):
    store.insert_spans(HISTORIES["bullmq"]())
    assert attempts(
        store, "queue, job_id, attempt, published_at, ready_at, queue_seconds, run_seconds, outcome, worker"
    ) == [
        ("emails", "4", 1, at(0), None, None, 1.0, "retry", "worker-1"),
        ("emails", "4", 2, at(1.9), at(1.9), 0.5, 0.6, "retry", "worker-1"),
        ("emails", "4", 3, at(2.9), None, None, 1.0, "failure", "worker-1"),
        ("emails", "7", 1, at(20), None, None, 1.0, "success", "worker-1"),
        ("emails", "8", 1, at(20), None, None, 1.0, "success", "worker-1"),
        ("reports", "4", 1, at(5), None, None, 0.95, "success", "worker-1"),
    ]


def test_plain(store):
    store.insert_spans(HISTORIES["plain"]())
    assert jobs(
        store,
        "system, queue, job_type, parent_id != '', workflow_id, trace_id, state, queue_seconds, run_seconds, error_type",
    ) == [
        ("aws_sqs", "mails", "", True, trace(30), trace(31), "failed", 4.0, 1.0, "Refused"),
        ("kafka", "log", "", False, trace(32), trace(32), "succeeded", 2.0, 1.0, ""),
        ("rabbitmq", "orders", "", False, trace(30), trace(30), "succeeded", 4.0, 2.0, ""),
    ]
    assert store.query(
        "SELECT sum(dispatched), sum(dispatch_failed), sum(started), sum(succeeded), sum(failed) FROM queue_minutes"
    ).rows == [(3, 1, 3, 2, 1)]


def test_one_run_of_several_messages(store):
    first, second = new_id(), new_id()
    store.insert_spans(
        [
            message("Producer", "create", 0, 0.1, message_id="a", span_id=first, trace=trace(1)),
            message("Producer", "create", 1, 1.1, message_id="b", span_id=second, trace=trace(2)),
            message("Producer", "send", 1, 2, links=[(trace(1), first), (trace(2), second)], trace=trace(3)),
            message("Consumer", "process", 4, 6, links=[(trace(1), first), (trace(2), second)], trace=trace(4)),
        ]
    )
    assert jobs(store, "job_id, workflow_id, queue_seconds, run_seconds, trace_id") == [
        ("a", trace(1), 4.0, 2.0, trace(4)),
        ("b", trace(2), 3.0, 2.0, trace(4)),
    ]


def test_a_message_handled_twice_is_one_attempt(store):
    sent = new_id()
    store.insert_spans(
        [
            message("Producer", "send", 0, 0.1, message_id="a", span_id=sent),
            message("Consumer", "process", 1, 2, message_id="a", parent=sent, error="Crash"),
            message("Consumer", "process", 5, 6, message_id="a", parent=sent),
        ]
    )
    assert attempts(store, "attempt, started_at, ended_at, outcome, queue_seconds") == [
        (1, at(1), at(6), "success", 1.0)
    ]


@pytest.mark.parametrize("name", HISTORIES)
def test_without_publications_only_what_the_runs_tell(store, name):
    store.insert_spans([one for one in HISTORIES[name]() if one[6] != "Producer"])
    found = attempts(store, "enqueued_at, published_at, ready_at, queue_seconds", "attempt = 1")
    assert found
    assert set(found) == {(None, None, None, None)}
    assert all(started for (started,) in attempts(store, "isNotNull(started_at)"))
    assert all(ran is not None for (ran,) in attempts(store, "run_seconds", "outcome != 'running'"))


@pytest.mark.parametrize("name", HISTORIES)
def test_without_runs_nothing_has_started(store, name):
    """Months ago, so that what may never meet its run waits no more."""
    state = "waiting" if name in ("celery", "taskiq") else "unpaired"
    store.insert_spans([one for one in HISTORIES[name]() if one[6] == "Producer"])
    assert attempts(store, "job_id") == []
    assert set(jobs(store, "state, attempts, started_at, ended_at, queue_seconds")) == {(state, 0, None, None, None)}
    assert set(store.query("SELECT complete FROM workflows").rows) == {(0,)}


def test_a_failure_that_may_not_be_the_last_leaves_the_job_open(store):
    add, run = new_id(), new_id()
    known = [
        bull("Producer", "add", 0, 0.1, job="1", span_id=add),
        bull("Consumer", "process", 1, 2, job="1", attempt=1, events=["job failed"], span_id=run, parent=add),
    ]
    store.insert_spans(known)
    assert attempts(store, "outcome, ended_at, run_seconds") == [("running", None, None)]
    assert jobs(store, "state, ended_at") == [("running", None)]
    store.insert_spans([bull("Internal", "fail", 1.8, 1.9, job="1", parent=run)])
    assert attempts(store, "outcome, ended_at, run_seconds") == [("failure", at(2), 1.0)]
    assert store.query("SELECT complete FROM workflows").rows == [(1,)]


def test_taskiq_may_ask_its_broker_for_a_delay(store):
    sent = new_id()
    store.insert_spans(
        [
            taskiq_send("a" * 32, 0, labels={"taskiq.delay": "3"}, span_id=sent),
            taskiq_run(4, 5, parent=sent, labels={"taskiq.delay": "3"}),
        ]
    )
    assert attempts(store, "published_at, ready_at, queue_seconds, run_seconds") == [(at(0), None, None, 1.0)]


def test_a_job_that_otjobs_records_is_not_doubled(store):
    job, sent = "f" * 32, new_id()
    ours = [
        span(
            kind,
            begin,
            end,
            {
                "messaging.system": "taskiq",
                "messaging.operation.type": operation,
                "messaging.destination.name": "q",
                "messaging.message.id": job,
                "otjobs.job.type": "images.resize",
                "otjobs.job.enqueued_at": T,
                **({"otjobs.job.outcome": "success"} if operation == "process" else {}),
            },
        )
        for kind, operation, begin, end in (("Producer", "send", 0, 0.1), ("Consumer", "process", 1, 2))
    ]
    theirs = [taskiq_send(job, 0.01, span_id=sent), taskiq_run(0.9, 2.1, parent=sent)]
    for order in (ours + theirs, theirs + ours):
        empty(store)
        for one in order:
            store.insert_spans([one])
        look_again(store)  # only then it is seen who came last
        assert jobs(store, "job_id, queue, state, queue_seconds, run_seconds") == [(job, "q", "succeeded", 1.0, 1.0)]


def waiting(store):
    """Who waits, as every place that tells of it has it."""
    by_state = jobs(store, "job_id", "state = 'waiting'")
    assert store.query("SELECT job_id FROM open_jobs WHERE waiting_since IS NOT NULL ORDER BY ALL").rows == by_state
    now = "minute = toStartOfMinute(now('UTC'))"
    assert store.query(f"SELECT sum(waiting) FROM queue_minutes WHERE {now}").rows == [(len(by_state),)]
    return [job for (job,) in by_state]


def test_a_publication_that_meets_no_run_stops_to_wait(store):
    """After an hour for plain messages, after a day in BullMQ, and never where runs always name their publication."""
    hours = 3600
    now = (time.time_ns() - T) / S
    told = [(0.9, "new"), (1.1, "old"), (25, "older")]
    for age, name in told:
        at_ = now - age * hours
        store.insert_spans(
            [
                message("Producer", "publish", at_, at_, queue="log", message_id=f"plain-{name}", trace=new_id() * 2),
                bull("Producer", "add", at_, at_, job=f"bull-{name}", trace=new_id() * 2),
                celery_send(f"celery-{name}", at_, trace=new_id() * 2),
                taskiq_send(f"taskiq-{name}", at_, trace=new_id() * 2),
            ]
        )
    assert waiting(store) == [
        "bull-new", "bull-old", "celery-new", "celery-old", "celery-older", "plain-new", "taskiq-new", "taskiq-old", "taskiq-older",
    ]  # fmt: skip
    assert jobs(store, "job_id, ended_at", "state = 'unpaired'") == [
        ("bull-older", None),
        ("plain-old", None),
        ("plain-older", None),
    ]
    # In the minutes, it waited for that long.
    ages = "dateDiff('hour', minute, now())"
    minutes = store.query(
        f"SELECT max({ages}), min({ages}) FROM queue_minutes WHERE queue = 'log' AND waiting > 0 AND {ages} > 2"
    ).rows
    assert minutes == [(25, 24)]


def test_a_late_run_ends_a_job_that_had_stopped_to_wait(store):
    sent, now = new_id(), (time.time_ns() - T) / S
    store.insert_spans([message("Producer", "publish", now - 9000, now - 9000, message_id="m", span_id=sent)])
    assert jobs(store, "job_id, state") == [("m", "unpaired")]
    store.insert_spans([message("Consumer", "process", now - 20, now - 10, message_id="m", parent=sent)])
    assert jobs(store, "job_id, state, queue_seconds") == [("m", "succeeded", pytest.approx(8980.0, abs=0.01))]


def test_spans_that_are_no_jobs(store):
    store.insert_spans(
        [
            bull("Internal", "close", 0, 1),
            message("Client", "receive", 0, 1, message_id="a"),
            message("Consumer", "receive", 0, 1, message_id="b"),
            span("Server", 0, 1, {"messaging.system": "rabbitmq"}),
            span("Producer", 0, 1, {"http.method": "GET"}),
            bull("Producer", "addBulk", 0, 1),
        ]
    )
    assert figures(store)[0] == []


def test_clients_of_rabbitmq_whose_receive_span_holds_the_handler(store):
    sent = new_id()
    store.insert_spans(
        [
            message("Producer", "", 0, 0.1, span_id=sent, scope="opentelemetry.instrumentation.aio_pika"),
            message("Consumer", "receive", 1, 3, parent=sent, scope="opentelemetry.instrumentation.aio_pika"),
        ]
    )
    assert jobs(store, "system, state, queue_seconds, run_seconds") == [("rabbitmq", "succeeded", 1.0, 2.0)]


def test_who_saw_less_does_not_overrule(store):
    """As inserts of one moment, of which the second sees what the first made, but not the spans it was made of."""
    sent = new_id()
    publication, run = celery_send("job", 0, span_id=sent), celery_run("job", 1, 2, parent=sent)
    store.insert_spans([publication])
    store.command("TRUNCATE TABLE foreign_spans")
    store.insert_spans([run])
    assert jobs(store, "job_id, state, queue_seconds") == [("job", "succeeded", None)]
    store.insert_spans([publication] * 2)  # another batch: the same one would be dropped as a repetition
    assert jobs(store, "job_id, state, queue_seconds") == [("job", "succeeded", 1.0)]
    store.command("TRUNCATE TABLE foreign_spans")
    store.insert_spans([run] * 2)
    assert jobs(store, "job_id, state, queue_seconds") == [("job", "succeeded", 1.0)]


@pytest.mark.parametrize("at_once", [SLICE_SPANS, 7])
def test_rebuild_makes_them_again(store, monkeypatch, at_once):
    monkeypatch.setattr("otjobs.backend.store.rebuild.SLICE_SPANS", at_once)
    empty(store)
    for make in HISTORIES.values():
        store.insert_spans(make())
    before = figures(store)[:3]
    store.command("ALTER TABLE attempt_states DELETE WHERE system = 'bullmq' SETTINGS mutations_sync = 2")
    assert figures(store)[:3] != before
    store.command("SYSTEM START VIEWS")
    try:
        rebuild(store, plan(store, None, None))
    finally:
        store.command("SYSTEM STOP VIEWS")
    assert figures(store)[:3] == before
