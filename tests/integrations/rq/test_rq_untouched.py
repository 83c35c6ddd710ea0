"""What the application sees of RQ is the same with tracing; fleets of which only a part is traced work."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import ClassVar

import pytest
import rq_jobs as jobs
from opentelemetry import trace
from rq import Queue, Repeat, Retry
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import DefaultSerializer
from rq.worker import BaseWorker

from otjobs import attributes as a
from otjobs import config, faults
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


@pytest.mark.parametrize("meta", [{"baggage": {"cabin": 1}}, {"baggage": {1, 2}}, {"traceparent": 7}, ["x", "y"]])
def test_any_meta_is_taken(captured, queue, work, meta):
    before = faults.fault_counts()
    job = queue.enqueue(jobs.add, 1, meta=meta)
    work()
    assert captured.tree() == "dispatch rq_jobs.add\n  execute rq_jobs.add"
    assert job.get_meta() == meta
    assert faults.fault_counts() == before


class Strict(Job):
    """A job that takes only what RQ gives it, keeps it, and equals nothing."""

    __hash__ = None

    def __setattr__(self, name, value):
        if "otjobs" in name:
            raise AttributeError(name)
        super().__setattr__(name, value)

    def __delattr__(self, name):
        raise AttributeError(name)

    def __eq__(self, other):
        raise RuntimeError


def test_a_class_of_jobs_may_be_as_strict_as_it_likes(captured, connection):
    before = faults.fault_counts()
    queue = Queue("main", connection=connection, job_class=Strict, is_async=False)
    assert queue.enqueue(jobs.add, 1, 2, repeat=Repeat(1)).return_value() == 3
    assert captured.tree().startswith("dispatch rq_jobs.add\n  execute rq_jobs.add")
    assert faults.fault_counts() == before


def test_several_threads_may_publish_one_job_at_once(captured, queue, monkeypatch):
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            for number in range(50):
                job = Job.create(jobs.add, id=f"job-{number}", connection=queue.connection)
                done = [threads.submit(queue.enqueue_job, job) for _ in range(4)]
                assert [one.result(60) for one in done] == [job] * 4
    finally:
        sys.setswitchinterval(before)
    assert len(queue) == 200


def test_what_rq_refuses_is_refused_however_it_is_given(captured, queue):
    for publish in (
        lambda job: queue.enqueue_job(job, None, False, True),  # noqa: FBT003
        lambda job: queue.schedule_job(job, datetime.now(UTC), None, True),  # noqa: FBT003
        lambda job: queue.schedule_job(job, datetime.now(UTC), unique=True),
    ):
        job = Job.create(jobs.add, connection=queue.connection)
        with pytest.raises(ValueError, match="explicit job_id"):
            publish(job)
    assert captured.dispatches == []


class Watched(DefaultSerializer):
    """Notes the status of the one job whenever something is unpickled."""

    statuses: ClassVar[list] = []
    connection = None

    @classmethod
    def loads(cls, data):
        cls.statuses.append(cls.connection.hget("rq:job:one", "status"))
        return DefaultSerializer.loads(data)


def test_a_job_is_unpickled_where_rq_does_it_and_nowhere_else(captured, connection, work, monkeypatch):
    """What a job holds may run anything, and end the process: only RQ knows what becomes of it then."""
    monkeypatch.setattr(Watched, "connection", connection)
    found = []
    for traced in (False, True):
        RQInstrumentor().uninstrument()
        monkeypatch.setattr(Watched, "statuses", [])
        plain = Queue("main", connection=connection, serializer=Watched)
        for job_id in ("one", "two"):
            plain.enqueue(jobs.fail, job_id=job_id, retry=Retry(1, 60))
        if traced:
            RQInstrumentor().instrument(tracer_provider=captured.provider)
        Job.fetch("two", connection=connection, serializer=Watched).cancel()
        work(serializer=Watched)
        plain.scheduled_job_registry.remove("one")
        plain.enqueue_job(Job.fetch("one", connection=connection, serializer=Watched))
        work(serializer=Watched)
        found.append(Watched.statuses)
    assert found[0] == found[1]
    assert found[0][0] == b"started"
    assert [s.attributes[a.JOB_TYPE] for s in captured.executions] == ["unknown", "rq_jobs.fail", "rq_jobs.fail"]


def test_a_description_is_nobodys_name(captured, queue, connection, work):
    RQInstrumentor().uninstrument()
    for job_id in ("cancelled", "abandoned", "again", "run"):
        queue.enqueue(jobs.add, 1, job_id=job_id, retry=Retry(1), description="Salary of Bob (bob@example.com)")
    RQInstrumentor().instrument(tracer_provider=captured.provider)
    fetched = {job_id: Job.fetch(job_id, connection=connection) for job_id in ("cancelled", "abandoned", "again")}
    fetched["cancelled"].cancel()
    with connection.pipeline() as pipeline:
        fetched["abandoned"].retry(queue, pipeline)
        pipeline.execute()
    fetched["again"].cancel()
    queue.enqueue_job(fetched["again"])
    work()
    assert "Bob" not in str([(s.name, dict(s.attributes)) for s in captured.spans])
    found = {(s.attributes[a.JOB_ID], s.name) for s in captured.executions}
    assert {("cancelled", "execute unknown"), ("abandoned", "execute unknown"), ("run", "execute rq_jobs.add")} <= found


def test_a_job_of_a_plain_producer_is_excluded_by_its_type(captured, queue, connection, work, monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_OTJOBS_EXCLUDED_TYPES", "rq_jobs.callback*,rq_jobs.send")
    config.settings.cache_clear()
    try:
        RQInstrumentor().uninstrument()
        queue.enqueue(jobs.send)
        RQInstrumentor().instrument(tracer_provider=captured.provider)
        work()
    finally:
        monkeypatch.undo()
        config.settings.cache_clear()
    assert captured.tree() == "dispatch rq_jobs.add\n  execute rq_jobs.add"


@pytest.mark.parametrize("name", ["enqueue_job", "create_job", "enqueue_many", "all"])
def test_a_method_of_a_queue_can_be_pickled(captured, name):
    assert pickle.loads(pickle.dumps(getattr(Queue, name))) == getattr(Queue, name)
    assert copy.deepcopy({"call": getattr(Queue, name)})["call"] == getattr(Queue, name)


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
