"""Messages that one run handles together: each is a job with an attempt of its own."""

from __future__ import annotations

import pytest
from celery_main_harness import Yard, brief, stop

pytestmark = [pytest.mark.redis, pytest.mark.slow]

CONF = {"imports": ["yard_batches"], "worker_prefetch_multiplier": 10}
GOOD = ["good-1", "good-2", "good-3"]
BAD = ["bad-1", "bad-2", "bad-3"]


@pytest.fixture(scope="module", params=["prefork", "threads", "solo"])
def handled(request, tmp_path_factory, collector, redis_url):
    yard = Yard(tmp_path_factory.mktemp("batches"), collector, redis_url)
    try:
        worker = yard.worker(pool=request.param, concurrency=1, conf=CONF)
        code = "from yard_batches import many\n"
        code += "".join(f"many.apply_async(('good',), task_id={job!r})\n" for job in GOOD)
        code += "".join(f"many.apply_async(('bad',), task_id={job!r})\n" for job in BAD)
        yard.produce(code, conf=CONF)
        yard.wait_for("ended", 5)  # the good ones, and a child of each batch
        for job in BAD:
            yard.wait_for("started", job=job)
        stop(worker)
        yield yard
    finally:
        yard.stop()


def test_every_message_has_one_attempt_with_the_outcome_of_its_batch(handled):
    found = {job: [brief(span) for span in spans] for job, spans in handled.jobs().items()}
    children = {f"child-of-{job}" for job in (GOOD[0], BAD[0])}
    assert {job: found.pop(job) for job in children} == {job: [("success", "", False)] for job in children}
    assert found == {
        **{job: [("success", "", False)] for job in GOOD},
        **{job: [("failure", "Failure", False)] for job in BAD},
    }


def test_it_belongs_to_its_own_dispatch(handled):
    for job in GOOD + BAD:
        [dispatch] = [s for s in handled.spans if s.operation == "dispatch" and s.job == job]
        [span] = handled.executions(job)
        assert (span.trace, span.parent) == (dispatch.trace, dispatch.id)
        assert span["messaging.destination.name"] == handled.queue
        assert span["otjobs.job.type"] == "yard.many"
        assert span["otjobs.job.received_at"] >= dispatch.start


def test_it_runs_as_long_as_its_batch(handled):
    for job in GOOD + BAD:
        [span], [begun] = handled.executions(job), handled.seen("started", job)
        assert span.start <= begun["at"]
        assert span.end - begun["at"] >= 200_000_000


def test_what_the_batch_dispatches_is_the_child_of_its_first_message(handled):
    for first, *others in (GOOD, BAD):
        [parent], [child] = handled.executions(first), handled.executions(f"child-of-{first}")
        assert child["otjobs.job.parent.id"] == first
        assert child.trace == parent.trace
        assert parent["otjobs.job.dispatched"] == 1
        assert [handled.executions(job)[0]["otjobs.job.dispatched"] for job in others] == [0, 0]
