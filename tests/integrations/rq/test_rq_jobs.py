"""What RQ can do that other libraries cannot, with a worker in this process."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
import rq_jobs as jobs
from redis import Redis
from redis.exceptions import ConnectionError as NotConnected
from rq import Callback, Queue, Repeat, Retry
from rq.cron import CronScheduler
from rq.exceptions import DuplicateJobError
from rq.group import Group
from rq.intermediate_queue import IntermediateQueue
from rq.job import Dependency, Job
from rq.rate_limit import RateLimit
from rq.registry import StartedJobRegistry
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer

from otjobs import attributes as a
from otjobs import faults
from otjobs.integrations.rq import RQInstrumentor

pytestmark = pytest.mark.redis


def ends(captured):
    """How every attempt ended, in the order of the ends."""
    return [
        (s.attributes[a.ATTEMPT], s.attributes[a.OUTCOME], s.attributes.get(a.ERROR_TYPE, ""))
        for s in captured.executions
    ]


def one_trace(captured):
    return len({s.context.trace_id for s in captured.spans}) == 1


def due_now(queue):
    """Move what is scheduled onto the queue, as RQ's scheduler does when the time has come."""
    scheduler = RQScheduler([queue], connection=queue.connection)
    scheduler.acquire_locks()
    for job_id in queue.scheduled_job_registry.get_job_ids(cleanup=False):
        queue.connection.zadd(queue.scheduled_job_registry.key, {job_id: 1})
    scheduler.enqueue_scheduled_jobs()
    scheduler.release_locks()


# Publications


def test_all_ways_to_publish(captured, queue, work):
    before = time.time_ns()
    queue.enqueue(jobs.add, 1, job_id="a")
    queue.enqueue_call("rq_jobs.add", (1,), job_id="b", ttl=60)
    at = datetime.now(UTC) + timedelta(hours=1)
    queue.enqueue_at(at, jobs.add, 1, job_id="c", retry=Retry(2))
    queue.enqueue_in(timedelta(seconds=90), jobs.add, 1, job_id="d", ttl=30)
    queue.enqueue_many([Queue.prepare_data(jobs.add, (1,), job_id=name) for name in "ef"])
    queue.enqueue_job(Job.create(jobs.add, (1,), connection=queue.connection, id="g"))
    sent = {s.attributes[a.JOB_ID]: s.attributes for s in captured.dispatches}
    assert sorted(sent) == list("abcdefg")
    assert {one[a.JOB_TYPE] for one in sent.values()} == {"rq_jobs.add"}
    assert {(one[a.SYSTEM], one[a.QUEUE], one[a.TRIGGER]) for one in sent.values()} == {("rq", "main", "manual")}
    assert sent["c"][a.DUE_AT] == pytest.approx(at.timestamp() * 1e9, abs=1000)
    assert sent["c"][a.MAX_ATTEMPTS] == 3
    assert 90e9 <= sent["d"][a.DUE_AT] - before < 95e9
    assert sent["d"][a.EXPIRES_AT] - sent["d"][a.DUE_AT] == 30e9
    assert 60e9 <= sent["b"][a.EXPIRES_AT] - before < 65e9
    due_now(queue)
    work()
    assert len(captured.dispatches) == 7
    assert ends(captured) == [(1, "success", "")] * 7
    ran = {s.attributes[a.JOB_ID]: s for s in captured.executions}
    assert {name: ran[name].attributes.get(a.DUE_AT) for name in ran} == {n: sent[n].get(a.DUE_AT) for n in sent}
    assert {name: ran[name].attributes[a.ENQUEUED_AT] for name in ran} == {n: sent[n][a.ENQUEUED_AT] for n in sent}


def test_a_job_is_enqueued_when_its_hash_leaves(captured, queue, monkeypatch):
    """Connecting, and asking Redis for its version, is no wait in a queue."""
    version = queue.get_redis_server_version

    def slow():
        time.sleep(0.2)
        return version()

    monkeypatch.setattr(queue, "get_redis_server_version", slow)
    queue.enqueue(jobs.add, 1)
    [sent] = captured.dispatches
    assert sent.attributes[a.ENQUEUED_AT] - sent.start_time >= 0.2e9


def test_a_scheduled_job_of_a_plain_producer_was_published_by_it(captured, queue, work):
    RQInstrumentor().uninstrument()
    queue.enqueue_in(timedelta(hours=1), jobs.add, 1)
    RQInstrumentor().instrument(tracer_provider=captured.provider)
    due_now(queue)
    work()
    assert captured.tree() == "execute rq_jobs.add"


def test_a_publication_that_fails_makes_no_job(captured, queue):
    with pytest.raises(NotConnected), Redis(port=1) as nowhere:
        Queue("main", connection=nowhere).enqueue(jobs.add, 1)
    queue.enqueue(jobs.add, 1, job_id="x", unique=True)
    with pytest.raises(DuplicateJobError):
        queue.enqueue(jobs.add, 1, job_id="x", unique=True)
    with pytest.raises(ValueError, match="explicit job_id"):
        queue.enqueue_job(Job.create(jobs.add, connection=queue.connection), unique=True)
    reasons = [s.attributes.get(a.ERROR_TYPE) for s in captured.dispatches]
    assert reasons == ["ConnectionError", None, "DuplicateJobError"]


def test_many_jobs_whose_one_command_fails_are_no_jobs(captured, queue, monkeypatch):
    queue.get_redis_server_version()
    datas = [Queue.prepare_data(jobs.add, (1,)) for _ in range(2)]
    monkeypatch.setattr(queue, "connection", Redis(port=1))
    with pytest.raises(NotConnected):
        queue.enqueue_many(datas)
    assert [s.attributes[a.ERROR_TYPE] for s in captured.dispatches] == ["ConnectionError"] * 2


def test_a_group_is_one_workflow(captured, queue, work):
    Group.create(queue.connection, "g1").enqueue_many(queue, [Queue.prepare_data(jobs.add, (1,)) for _ in range(2)])
    work()
    assert captured.tree() == "dispatch group\n" + "\n".join(["  dispatch rq_jobs.add\n    execute rq_jobs.add"] * 2)
    [around] = [s for s in captured.spans if s.name == "dispatch group"]
    assert around.attributes[a.WORKFLOW_ROOTS] == 2
    assert {s.attributes[a.GROUP_ID] for s in captured.executions} == {"g1"}


def test_a_job_that_waits_for_others_is_a_child_of_the_last_of_them(captured, queue, work):
    first = [queue.enqueue(jobs.add, n, job_id=f"first-{n}") for n in range(2)]
    queue.enqueue(jobs.add, 9, depends_on=first, job_id="then")
    queue.enqueue(jobs.fail, job_id="fails")
    queue.enqueue(jobs.add, 9, depends_on=Dependency(["fails"], allow_failure=True), job_id="anyway")
    assert [s.attributes[a.JOB_ID] for s in captured.dispatches] == ["first-0", "first-1", "fails"]
    work()
    parents = {s.attributes[a.JOB_ID]: s.attributes.get(a.PARENT_ID) for s in captured.executions}
    assert parents == {"first-0": None, "first-1": None, "then": "first-1", "fails": None, "anyway": "fails"}
    dispatched = {s.attributes[a.JOB_ID]: s.attributes[a.DISPATCHED] for s in captured.executions}
    assert dispatched == {"first-0": 0, "first-1": 1, "then": 0, "fails": 1, "anyway": 0}


def test_a_job_that_waits_keeps_its_trace_where_no_job_publishes_it(captured, queue, work):
    with captured.provider.get_tracer("web").start_as_current_span("request"):
        above = queue.enqueue(jobs.add, 1)
        queue.enqueue(jobs.add, 2, depends_on=above, job_id="then")
    above.cancel(enqueue_dependents=True)
    assert [s.attributes[a.JOB_ID] for s in captured.dispatches] == [above.id, "then"]
    assert one_trace(captured)


def test_a_job_that_a_rate_limit_holds_back_is_published_once(captured, queue, work):
    first, _ = (queue.enqueue(jobs.add, 1, rate_limit=RateLimit("one", 1)) for _ in range(2))
    queue.enqueue(jobs.add, 1, rate_limit=RateLimit("one", 1), depends_on=first, job_id="then")
    work()
    assert len(captured.dispatches) == 3
    assert ends(captured) == [(1, "success", "")] * 3
    assert captured.executions[-1].attributes[a.PARENT_ID] == first.id


def test_a_schedule_triggers_jobs_of_cron(captured, queue, work):
    scheduler = CronScheduler(connection=queue.connection)
    scheduler.register(jobs.add, "main", args=(1,), interval=60, name="nightly")
    scheduler.enqueue_jobs()
    work()
    assert {(s.attributes[a.TRIGGER], s.attributes[a.TRIGGER_NAME]) for s in captured.spans} == {
        ("schedule", "nightly")
    }


def test_each_repetition_is_a_job_of_its_own(captured, queue, work):
    queue.enqueue(jobs.add, 1, job_id="r", repeat=Repeat(2, interval=[0, 30]))
    work()
    due_now(queue)
    work()
    assert ends(captured) == [(1, "success", "")] * 3
    assert [s.attributes[a.TRIGGER] for s in captured.executions] == ["manual", "schedule", "schedule"]
    assert [a.DUE_AT in s.attributes for s in captured.dispatches] == [False, False, True]
    assert {s.attributes[a.JOB_ID] for s in captured.executions} == {"r"}
    assert len({s.context.trace_id for s in captured.executions}) == 3
    assert [s.attributes[a.DISPATCHED] for s in captured.executions] == [0, 0, 0]


# Attempts


def test_retries_with_intervals(captured, queue, work):
    queue.enqueue(jobs.fail, retry=Retry(2, [0, 60]))
    work()
    due_now(queue)
    work()
    assert ends(captured) == [(1, "retry", "Broken"), (2, "retry", "Broken"), (3, "failure", "Broken")]
    assert {s.attributes[a.MAX_ATTEMPTS] for s in captured.executions} == {3}
    assert [a.DUE_AT in s.attributes for s in captured.executions] == [False, False, True]
    assert [s.attributes.get(a.DEAD_LETTER) for s in captured.executions] == [None, None, True]
    assert one_trace(captured)
    assert len(captured.dispatches) == 1


def test_a_retry_that_the_job_returns(captured, queue, work):
    queue.enqueue(jobs.return_retry, 1, 1)
    queue.enqueue(jobs.return_retry, 2, 1)
    work()
    assert sorted(ends(captured)) == [
        (1, "retry", "Retry"),
        (1, "retry", "Retry"),
        (2, "failure", "MaxRetriesExceeded"),
        (2, "success", ""),
    ]


def test_a_failed_job_that_is_put_back_runs_its_next_attempt(captured, queue, work):
    job = queue.enqueue(jobs.fail, retry=Retry(1))
    work()
    job.requeue()  # an object of before the job ran
    work()
    assert ends(captured) == [
        (1, "retry", "Broken"),
        (2, "failure", "Broken"),
        (3, "retry", "Broken"),  # the old object has a retry left
        (4, "failure", "Broken"),
    ]
    assert one_trace(captured)
    assert len(captured.dispatches) == 1


def test_callbacks_dispatch_children(captured, queue, work):
    queue.enqueue(jobs.add, 1, on_success=Callback(jobs.callback))
    queue.enqueue(jobs.fail, on_failure=Callback(jobs.callback))
    queue.enqueue(jobs.add, 1, on_success=Callback(jobs.broken_callback))
    work()
    tops = [s for s in captured.executions if a.PARENT_ID not in s.attributes]
    assert [(s.attributes[a.OUTCOME], s.attributes.get(a.ERROR_TYPE), s.attributes[a.DISPATCHED]) for s in tops] == [
        ("success", None, 1),
        ("failure", "Broken", 1),
        ("failure", "KeyError", 0),
    ]


def test_a_job_above_its_time_limit_fails(captured, queue, work):
    queue.enqueue(jobs.nap, 30, job_timeout=1)
    work()
    assert ends(captured) == [(1, "failure", "JobTimeoutException")]


def test_jobs_that_cannot_be_run(captured, queue, connection, work):
    queue.enqueue("nowhere.nothing", job_id="unimportable")
    Queue("main", connection=connection, serializer=JSONSerializer).enqueue(jobs.add, 1, job_id="unpicklable")
    before = faults.fault_counts()
    work()
    assert faults.fault_counts() == before
    found = {s.attributes[a.JOB_ID]: s for s in captured.executions}
    assert found["unimportable"].attributes[a.ERROR_TYPE] == "ValueError"
    assert found["unpicklable"].attributes[a.ERROR_TYPE] == "DeserializationError"
    assert found["unpicklable"].attributes[a.JOB_TYPE] == "rq_jobs.add"


def test_a_queue_that_runs_jobs_at_once(captured, connection):
    queue = Queue("main", connection=connection, is_async=False)
    assert queue.enqueue(jobs.add, 1, 2).return_value() == 3
    queue.enqueue(jobs.fail)
    assert (
        captured.tree() == "dispatch rq_jobs.add\n  execute rq_jobs.add\ndispatch rq_jobs.fail\n  execute rq_jobs.fail"
    )
    assert ends(captured) == [(1, "success", ""), (1, "failure", "Broken")]
    for sent, ran in zip(captured.dispatches, captured.executions, strict=True):
        assert sent.end_time <= ran.start_time


# Ends without a run


def test_a_cancelled_job_never_started(captured, queue, work):
    queue.enqueue(jobs.add, 1).cancel()
    late = queue.enqueue_in(timedelta(hours=1), jobs.fail, retry=Retry(1))
    Job.fetch(late.id, connection=queue.connection).cancel()
    done = queue.enqueue(jobs.add, 1)
    work()
    done.cancel()
    waiting = queue.enqueue(jobs.add, 1, depends_on=queue.enqueue(jobs.fail))
    waiting.cancel()
    assert ends(captured) == [(1, "cancelled", "Canceled")] * 2 + [(1, "success", "")]
    for span in captured.executions[:2]:
        assert span.start_time == span.end_time


def test_a_job_that_is_cancelled_while_it_runs_runs_on(captured, queue, work):
    queue.enqueue(jobs.cancel_itself)
    work()
    assert ends(captured) == [(1, "success", "")]


def test_a_cancelled_job_that_is_put_back_goes_on(captured, queue, work):
    job = queue.enqueue(jobs.add, 1)
    job.cancel()
    queue.enqueue_job(job)
    work()
    assert ends(captured) == [(1, "cancelled", "Canceled"), (2, "success", "")]
    assert one_trace(captured)


def test_a_job_whose_worker_died_between_taking_and_starting_it(captured, queue, connection, worker, work):
    for number, retry in enumerate((None, Retry(1))):
        job = queue.enqueue(jobs.add, number, retry=retry)
        Queue.lmove(connection, queue.key, 1)
        stuck = IntermediateQueue(queue.key, connection=connection)
        stuck.set_first_seen(job.id)
        connection.set(stuck.get_first_seen_key(job.id), 1)
    IntermediateQueue(queue.key, connection=connection).cleanup(worker, queue)
    assert sorted(ends(captured)) == [(1, "rejected", "NeverStarted"), (1, "retry", "NeverStarted")]
    work()
    assert ends(captured)[-1] == (2, "success", "")


def test_a_job_whose_worker_is_gone_ended_at_its_last_sign_of_life(captured, queue, connection, work):
    began = datetime.now(UTC) - timedelta(minutes=20)
    for retry in (None, Retry(1)):
        job = queue.enqueue(jobs.add, 1, retry=retry)
        connection.lrem(queue.key, 1, job.id)
        execution_key = f"{job.id}:gone"
        with connection.pipeline() as pipeline:
            job.prepare_for_execution("gone-worker", pipeline)
            pipeline.hset(job.key, "started_at", began.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
            pipeline.hset(job.key, "last_heartbeat", (began + timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
            pipeline.zadd(queue.started_job_registry.key, {execution_key: 1})
            pipeline.execute()
    StartedJobRegistry(queue=queue).cleanup()
    assert sorted(ends(captured)) == [(1, "lost", "AbandonedJobError"), (1, "retry", "AbandonedJobError")]
    for span in captured.executions:
        assert span.attributes[a.OBSERVED] is True
        assert span.attributes[a.WORKER] == "gone-worker"
        assert span.end_time - span.start_time == 120e9
    work()
    assert ends(captured)[-1] == (2, "success", "")
    assert len({s.context.trace_id for s in captured.spans}) == 2
