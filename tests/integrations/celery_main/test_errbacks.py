"""What Celery publishes when it handles the end of a job is a child of the attempt that ended, whoever publishes it."""

from __future__ import annotations

import celery
import pytest
from celery_main_harness import Yard, stop

pytestmark = [
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.skipif(celery.VERSION < (5, 7), reason="Celery calls no errbacks of a rejection before 5.7"),
]
CONF = {"imports": ["yard_endings"]}
REJECTED = ("rejects", "rejects_after_success", "retries_in_vain")


@pytest.fixture(scope="module", params=["prefork", "threads", "solo"])
def rejected(request, tmp_path_factory, collector, redis_url):
    yard = Yard(tmp_path_factory.mktemp("errbacks"), collector, redis_url)
    yard.rejected = REJECTED if request.param == "prefork" else ("rejects", "retries_in_vain")
    try:
        worker = yard.worker(pool=request.param, concurrency=1, conf=CONF)
        code = "from yard_endings import *\nfrom yard import complain\n"
        code += "".join(f"{name}.apply_async(task_id={name!r}, link_error=complain.s())\n" for name in yard.rejected)
        code += "chord([child.s().set(task_id='other'), rejects.s().set(task_id='header')])(child.s().on_error(complain.s()))\n"
        yard.produce(code, conf=CONF)
        yard.wait_for("complained", len(yard.rejected) + 1)
        stop(worker)
        yield yard
    finally:
        yard.stop()


def test_an_errback_of_a_rejection_is_a_child_of_the_rejected_attempt(rejected):
    dispatches = [s for s in rejected.spans if s.operation == "dispatch" and s["otjobs.job.type"] == "yard.complain"]
    assert {s.get("otjobs.job.parent.id") for s in dispatches} == {*rejected.rejected, "header"}
    for dispatch in dispatches:
        attempts = rejected.executions(dispatch["otjobs.job.parent.id"])
        assert {(s["otjobs.job.outcome"], s["error.type"]) for s in attempts} == {("rejected", "Reject")}
        assert dispatch.parent in {s.id for s in attempts}
        assert {dispatch.trace} == {s.trace for s in attempts}
        assert dispatch["otjobs.job.parent.attempt"] == 1
        assert dispatch["otjobs.job.parent.type"] == attempts[0]["otjobs.job.type"]
