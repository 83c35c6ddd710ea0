"""What the application sees of RQ is the same with tracing; fleets of which only a part is traced work."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys

import pytest
import rq_jobs as jobs
from opentelemetry import trace
from rq import Queue, Retry
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.worker import BaseWorker

from otjobs import attributes as a
from otjobs import faults
from otjobs.integrations.rq import RQInstrumentor

pytestmark = pytest.mark.redis


def test_meta_is_the_users_alone(captured, queue, work):
    shared = {"tenant": "acme"}
    first, second = (queue.enqueue(jobs.add, 1, meta=shared) for _ in range(2))
    work()
    assert shared == {"tenant": "acme"}
    assert first.meta is shared
    assert Job.fetch(second.id, connection=queue.connection).meta == {"tenant": "acme"}
    assert len({s.context.trace_id for s in captured.executions}) == 2


def test_a_job_that_overwrites_its_meta_keeps_its_trace(captured, queue, work):
    job = queue.enqueue(jobs.overwrite_meta, retry=Retry(1))
    work()
    assert [(s.attributes[a.ATTEMPT], s.attributes[a.OUTCOME]) for s in captured.executions] == [
        (1, "retry"),
        (2, "success"),
    ]
    assert len({s.context.trace_id for s in captured.spans}) == 1
    assert job.get_meta() == {"mine": 1}


def test_a_child_that_takes_over_the_meta_of_its_parent_has_a_carrier_of_its_own(captured, queue, work):
    queue.enqueue(jobs.enqueue_again, job_id="parent")
    work()
    sent = {s.attributes[a.JOB_ID]: s for s in captured.dispatches}
    assert sent["child"].attributes[a.PARENT_ID] == "parent"
    ran = {s.attributes[a.JOB_ID]: s for s in captured.executions}
    assert ran["child"].parent.span_id == sent["child"].context.span_id


def test_a_trace_in_meta_goes_on_where_no_span_is_current(captured, queue, work):
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    job = queue.enqueue(jobs.add, 1, meta={"traceparent": given})
    work()
    assert {trace.format_trace_id(s.context.trace_id) for s in captured.spans} == {given[3:35]}
    assert job.get_meta() == {"traceparent": given}


def test_the_job_of_a_plain_producer_with_the_id_of_an_earlier_one_is_a_new_job(captured, queue, work):
    queue.enqueue(jobs.add, 1, job_id="nightly")
    work()
    RQInstrumentor().uninstrument()
    queue.enqueue(jobs.add, 1, job_id="nightly")
    RQInstrumentor().instrument(tracer_provider=captured.provider)
    work()
    first, second = captured.executions
    assert first.context.trace_id != second.context.trace_id
    assert a.ENQUEUED_AT not in second.attributes


def test_jobs_of_plain_producers_and_workers(captured, queue, work):
    RQInstrumentor().uninstrument()
    queue.enqueue(jobs.fail, job_id="from-plain", retry=Retry(1))
    RQInstrumentor().instrument(tracer_provider=captured.provider)
    work()
    queue.enqueue(jobs.fail, job_id="through-plain", retry=Retry(2))
    RQInstrumentor().uninstrument()
    work(max_jobs=1)
    RQInstrumentor().instrument(tracer_provider=captured.provider)
    work()
    found = [
        (s.attributes[a.JOB_ID], s.attributes[a.ATTEMPT], s.attributes[a.OUTCOME], s.attributes[a.MAX_ATTEMPTS])
        for s in captured.executions
    ]
    assert found == [
        ("from-plain", 1, "retry", 2),
        ("from-plain", 2, "failure", 2),
        ("through-plain", 2, "retry", 3),
        ("through-plain", 3, "failure", 3),
    ]
    assert {s.attributes[a.JOB_TYPE] for s in captured.executions} == {"rq_jobs.fail"}
    [sent] = captured.dispatches
    assert {s.context.trace_id for s in captured.executions[2:]} == {sent.context.trace_id}


def test_what_a_plain_worker_leaves_for_a_job_that_waits(captured, queue, work):
    with captured.provider.get_tracer("web").start_as_current_span("request") as request:
        queue.enqueue(jobs.add, 2, depends_on=queue.enqueue(jobs.add, 1), job_id="then")
    RQInstrumentor().uninstrument()
    work(max_jobs=1)
    RQInstrumentor().instrument(tracer_provider=captured.provider)
    work()
    [ran] = captured.executions
    assert ran.attributes[a.JOB_ID] == "then"
    assert ran.context.trace_id == request.get_span_context().trace_id


def test_a_broken_carrier_costs_a_warning_and_no_job(captured, queue, connection, work):
    job = queue.enqueue(jobs.add, 1, 2)
    connection.hset(job.key, "otjobs", b"\xff{")
    before = faults.fault_counts()
    work()
    assert job.return_value() == 3
    assert faults.fault_counts() != before
    assert captured.executions[0].attributes[a.OUTCOME] == "success"


def test_signatures_jobs_and_hashes_are_rqs_own(captured, queue, connection):
    methods = [name for name, found in vars(Queue).items() if inspect.isroutine(found)]
    with_tracing = {name: inspect.signature(getattr(Queue, name)) for name in methods}
    traced = queue.enqueue(jobs.add, 1, job_id="x", retry=Retry(1, 3))
    stored = connection.hgetall(traced.key)
    assert pickle.loads(pickle.dumps({**vars(traced), "connection": None, "log": None}))["_id"] == "x"
    RQInstrumentor().uninstrument()
    assert with_tracing == {name: inspect.signature(getattr(Queue, name)) for name in methods}
    plain = queue.enqueue(jobs.add, 1, job_id="y", retry=Retry(1, 3))
    assert set(stored) - set(connection.hgetall(plain.key)) == {b"otjobs"}
    assert set(vars(traced)) - set(vars(plain)) == {"_otjobs"}
    RQInstrumentor().instrument()


def test_uninstrument_takes_everything_back():
    RQInstrumentor().instrument()
    RQInstrumentor().uninstrument()
    owners = (Job, Queue, BaseWorker, StartedJobRegistry)
    left = [
        f"{o.__name__}.{n}"
        for o in owners
        for n, found in vars(o).items()
        if hasattr(found, "__wrapped__") and "otjobs" in str(getattr(found, "_self_wrapper", ""))
    ]
    assert left == []


def test_instrumenting_imports_nothing_of_rq():
    code = (
        "import sys; from otjobs.integrations.rq import RQInstrumentor; RQInstrumentor().instrument(); "
        "print([name for name in sys.modules if name.split('.')[0] in ('rq', 'redis')])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n"


def test_the_workers_own_commands_are_quiet_and_those_of_a_job_are_not(captured, queue, work):
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    queue.enqueue(jobs.touch_redis)
    RedisInstrumentor().instrument(tracer_provider=captured.provider)
    try:
        work()
    finally:
        RedisInstrumentor().uninstrument()
    [ran] = captured.executions
    commands = [
        s
        for s in captured.spans
        if s.attributes.get("db.system") == "redis" and s.context.trace_id == ran.context.trace_id
    ]
    assert [s.name for s in commands] == ["SET"]
    assert commands[0].parent.span_id == ran.context.span_id
