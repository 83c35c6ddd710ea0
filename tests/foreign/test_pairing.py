"""Two halves become one job, whatever order, number of copies and batches they arrive in."""

from __future__ import annotations

import random

import pytest
from clickhouses import empty
from stock import S, T, bull, celery_run, celery_send, message, new_id, taskiq_run, taskiq_send

JOBS = (
    "SELECT system, queue, job_type, job_id, workflow_id, parent_id, parent_type, enqueued_at, ready_at, started_at, ended_at, state, attempts, "
    "round(delay_seconds, 3), round(queue_seconds, 3), round(run_seconds, 3), error_type, worker, service, producer FROM jobs ORDER BY ALL"
)
ATTEMPTS = (
    "SELECT system, job_id, attempt, published_at, ready_at, started_at, ended_at, round(queue_seconds, 3), round(run_seconds, 3), outcome, error_type, "
    "worker, host, service, release, trace_id, span_id, parent_id FROM attempts ORDER BY ALL"
)
WORKFLOWS = "SELECT * FROM workflows ORDER BY ALL"
# Of the day of the histories: who waits still does now, and more minutes pass meanwhile.
MINUTES = (
    "SELECT * EXCEPT (queue_state, run_state, oldest_wait_seconds) FROM queue_minutes "
    f"WHERE minute < toDateTime({T // S + 86_400}, 'UTC') ORDER BY ALL"
)


def trace(n):
    return f"{n:032x}"


def celery():
    """A job that retries with a delay and publishes another one; a job with an ETA that fails; one that waits."""
    a, b, c, d, child = new_id(), new_id(), new_id(), new_id(), new_id()
    return [
        celery_send("job-1", 0, span_id=a, trace=trace(1), service="web"),
        celery_run(
            "job-1", 1, 3, state="RETRY", error="GatewayTimeout", span_id=b, parent=a, trace=trace(1), service="worker"
        ),
        celery_send("job-1", 2.5, span_id=c, parent=b, trace=trace(1), service="worker"),
        celery_run("job-1", 7, 9, retries=1, eta=5.5, span_id=d, parent=c, trace=trace(1), service="worker"),
        celery_send("job-2", 8, task="report", queue="slow", span_id=child, parent=d, trace=trace(1), service="worker"),
        celery_run("job-2", 8.5, 70, task="report", queue="slow", parent=child, trace=trace(1), service="worker"),
        celery_send("job-3", 100, span_id="e" * 16, trace=trace(2), service="web"),
        celery_run(
            "job-3",
            131,
            132,
            state="FAILURE",
            error="KeyError",
            eta=130,
            parent="e" * 16,
            trace=trace(2),
            service="worker",
        ),
        celery_send("job-4", 200, trace=trace(3), service="web"),
    ]


def taskiq():
    """With retry_on_error: two failures and a success, and three failures; without: a success and a failure."""
    sends, runs = [new_id() for _ in range(8)], [new_id() for _ in range(8)]
    on = {"taskiq.retry_on_error": "true", "taskiq.max_retries": "3"}
    found = []
    for n, last in enumerate((None, "still bad")):
        s, r, at = sends[3 * n :], runs[3 * n :], 100 * n
        job = f"{n:032x}"
        for attempt in (1, 2, 3):
            failed = attempt < 3 or last is not None
            found += [
                taskiq_send(
                    job,
                    at + 10 * attempt,
                    retries=attempt - 1,
                    labels=on,
                    span_id=s[attempt - 1],
                    parent=r[attempt - 2] if attempt > 1 else "",
                    trace=trace(10 + n),
                ),
                taskiq_run(
                    at + 10 * attempt + 2,
                    at + 10 * attempt + 5,
                    labels=on,
                    counted=attempt if failed else attempt - 1,
                    reason="bad" if failed else None,
                    span_id=r[attempt - 1],
                    parent=s[attempt - 1],
                    trace=trace(10 + n),
                ),
            ]
    return [
        *found,
        taskiq_send("c" * 32, 300, span_id=sends[6], trace=trace(12)),
        taskiq_run(301, 302, parent=sends[6], trace=trace(12)),
        taskiq_send("d" * 32, 310, span_id=sends[7], trace=trace(13)),
        taskiq_run(311, 314, error="ValueError", parent=sends[7], trace=trace(13)),
    ]


def bullmq():
    """Small ids in two queues; a retry at once, one with backoff, a final failure, a bulk of two."""
    add, first, second, third, other, bulk = (new_id() for _ in range(6))
    t = trace(20)
    return [
        bull("Producer", "add", 0, 0.1, job="4", span_id=add, trace=t),
        bull(
            "Consumer", "process", 1, 2, job="4", attempt=1, events=["job failed"], span_id=first, parent=add, trace=t
        ),
        bull("Internal", "retry", 1.8, 1.9, job="4", parent=first, trace=t),
        bull(
            "Consumer",
            "process",
            2.4,
            3,
            job="4",
            attempt=2,
            events=["job failed"],
            span_id=second,
            parent=add,
            trace=t,
        ),
        bull("Internal", "delay", 2.8, 2.9, job="4", parent=second, trace=t),
        bull(
            "Consumer", "process", 8, 9, job="4", attempt=3, events=["job failed"], span_id=third, parent=add, trace=t
        ),
        bull("Internal", "fail", 8.8, 8.9, job="4", parent=third, trace=t),
        bull("Producer", "add", 5, 5.1, job="4", queue="reports", name="export", span_id=other, trace=t),
        bull(
            "Consumer",
            "process",
            5.05,
            6,
            job="4",
            queue="reports",
            name="export",
            attempt=1,
            events=["job completed"],
            parent=other,
            trace=t,
        ),
        bull("Producer", "addBulk", 20, 20.1, span_id=bulk, trace=trace(21)),
        bull("Consumer", "process", 21, 22, job="7", attempt=1, events=["job completed"], parent=bulk, trace=trace(21)),
        bull("Consumer", "process", 22, 23, job="8", attempt=1, events=["job completed"], parent=bulk, trace=trace(21)),
    ]


def plain():
    """By parent without an id, by link from another trace, by id where a span lies between; and one that failed to be sent."""
    sent, linked, between, around = (new_id() for _ in range(4))
    return [
        message("Producer", "send", 0, 0.1, span_id=sent, trace=trace(30), service="shop"),
        message("Consumer", "process", 4, 6, span_id=around, parent=sent, trace=trace(30), service="billing"),
        message(
            "Producer",
            "create",
            5,
            5.1,
            system="aws_sqs",
            queue="mails",
            message_id="m-1",
            span_id=linked,
            parent=around,
            trace=trace(30),
            service="billing",
        ),
        message(
            "Consumer",
            "process",
            9,
            10,
            system="aws_sqs",
            queue="mails",
            message_id="m-1",
            links=[(trace(30), linked)],
            trace=trace(31),
            error="Refused",
        ),
        message("Producer", "publish", 50, 50.1, system="kafka", queue="log", message_id="k-1", trace=trace(32)),
        message(
            "Consumer",
            "process",
            52,
            53,
            system="kafka",
            queue="log",
            message_id="k-1",
            parent=between,
            trace=trace(32),
        ),
        message(
            "Client",
            "receive",
            51,
            51.5,
            system="kafka",
            queue="log",
            message_id="k-1",
            span_id=between,
            trace=trace(32),
        ),
        message("Producer", "send", 60, 61, span_id=new_id(), trace=trace(33), error="NoBroker"),
    ]


PIKA = "opentelemetry.instrumentation.pika.pika_instrumentor"
FASTSTREAM = "opentelemetry.instrumentation.faststream"
BROKER = {"net.peer.name": "127.0.0.1"}


def rabbitmq():
    """Clients of RabbitMQ, as captured: two spans for one publication, ids that only the run tells, a batch, a redelivery."""
    outer, inner, early, create, publish, batch, one, two, twice = (new_id() for _ in range(9))
    key = {"messaging.rabbitmq.destination.routing_key": "fsq"}
    return [
        # pika: one PRODUCER span inside of the other, and the inner one's context travels.
        message("Producer", "", 0, 0.2, queue="pk", span_id=outer, trace=trace(40), scope=PIKA, more=BROKER),
        message(
            "Producer", "", 0.1, 0.2, queue="pk", span_id=inner, parent=outer, trace=trace(40), scope=PIKA, more=BROKER
        ),
        message("Consumer", "receive", 1, 2, queue="pk", parent=inner, trace=trace(40), scope=PIKA, more=BROKER),
        message("Producer", "", 3, 3.2, queue="pk", message_id="m1", span_id=early, trace=trace(41), scope=PIKA),
        message("Producer", "", 3.1, 3.2, queue="pk", message_id="m1", parent=early, trace=trace(41), scope=PIKA),
        # aio-pika: the id is made after the publication's span began; `exchange,key`.
        message("Producer", "", 10, 10.1, queue=",aio", span_id=twice, trace=trace(42), scope="opentelemetry.instrumentation.aio_pika"),
        *(
            message("Consumer", "receive", start, start + 1, queue="aio", message_id="ff97", parent=twice, trace=trace(42), scope="opentelemetry.instrumentation.aio_pika")
            for start in (11, 13)
        ),
        # FastStream: the outer one's context travels.
        message("Producer", "create", 20, 20.1, queue="", span_id=create, trace=trace(43), scope=FASTSTREAM, more=key),
        message("Producer", "publish", 20.1, 20.2, queue="", span_id=publish, parent=create, trace=trace(43), scope=FASTSTREAM, more=key),
        message("Consumer", "process", 21, 23, queue="", message_id="15b7", parent=create, trace=trace(43), scope=FASTSTREAM, more=key),
        # Several messages created inside of one sending.
        message("Producer", "send", 30, 31, queue="many", span_id=batch, trace=trace(44)),
        message("Producer", "create", 30.1, 30.1, queue="many", message_id="b1", span_id=one, parent=batch, trace=trace(44)),
        message("Producer", "create", 30.2, 30.2, queue="many", message_id="b2", span_id=two, parent=batch, trace=trace(44)),
        message("Consumer", "process", 32, 33, queue="many", message_id="b1", parent=one, trace=trace(44)),
    ]  # fmt: skip


HISTORIES = {"rabbitmq": rabbitmq, "celery": celery, "taskiq": taskiq, "bullmq": bullmq, "plain": plain}


def figures(store):
    return [store.query(text).rows for text in (JOBS, ATTEMPTS, WORKFLOWS, MINUTES)]


def runs_first(spans, rng):
    """Runs before the publications they came from, all of it shuffled; then everything again, in other batches."""
    runs = [one for one in spans if one[6] != "Producer"]
    sent = [one for one in spans if one[6] == "Producer"]
    copies = [one for one in spans for _ in range(rng.randint(1, 4))]
    for part in (runs, sent, copies):
        rng.shuffle(part)
    return [runs[::2], runs[1::2], sent, copies[: len(copies) // 3], copies[len(copies) // 3 :]]


def shuffled(spans, rng):
    """Each span once, shuffled, in four batches."""
    copies = rng.sample(spans, len(spans))
    return [copies[n::4] for n in range(4)]


@pytest.mark.parametrize("name", HISTORIES)
def test_any_delivery_gives_what_one_gives(store, name):
    spans = HISTORIES[name]()
    store.insert_spans(spans)
    expected = figures(store)
    assert len(expected[0]) > 1
    for delivery in (runs_first, shuffled):
        empty(store)
        for batch in delivery(spans, random.Random(name)):
            store.insert_spans(batch)
        assert figures(store) == expected, delivery.__name__


def test_clients_of_rabbitmq(store):
    store.insert_spans(rabbitmq())
    rows = store.query(
        "SELECT job_id, queue, enqueued_at, state, attempts, queue_seconds, run_seconds FROM jobs ORDER BY enqueued_at"
    ).rows
    found = [(*row[:2], row[2].timestamp() - T // S, *row[3:]) for row in rows]
    outer = found[0][0]
    assert len(outer) == 16  # no id anywhere: that of the publication's span
    assert found == [
        (outer, "pk", 0.0, "succeeded", 1, 1.0, 1.0),
        ("m1", "pk", 3.0, "unpaired", 0, None, None),
        ("ff97", "aio", 10.0, "succeeded", 1, 1.0, 3.0),
        ("15b7", "fsq", 20.0, "succeeded", 1, 1.0, 2.0),
        ("b1", "many", pytest.approx(30.1), "succeeded", 1, pytest.approx(1.9), 1.0),
        ("b2", "many", pytest.approx(30.2), "unpaired", 0, None, None),
    ]  # fmt: skip
