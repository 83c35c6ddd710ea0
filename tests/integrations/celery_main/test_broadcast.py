"""A message to every worker: each run says so, and says whose it is."""

from __future__ import annotations

import pytest
from celery_main_harness import Yard

pytestmark = [pytest.mark.rabbitmq, pytest.mark.slow]


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_every_worker_has_a_run_of_its_own_and_the_failed_one_is_seen(tmp_path, collector, rabbitmq_url, pool):
    yard = Yard(tmp_path, collector, rabbitmq_url)
    try:
        # Given two workers, of which one fails at what both get
        for name in ("well", "sick"):
            options = ("-P", pool, "-c", "1", "-n", f"{name}@%h", "-l", "info")
            worker = yard.start(name, "-m", "celery", "-A", "yard_broadcast", "worker", *options)
            worker.wait_ready(lambda: " ready." in worker.output(), seconds=60, what="the worker")  # noqa: B023
        code = "from yard_broadcast import *\nreload.apply_async(('sick',), task_id='all')\nonce.apply_async(task_id='one')\n"
        producer = yard.start("producer", "-c", code)
        producer.popen.wait(60)
        yard.wait_for_executions(2, job="all", seconds=60)
        yard.wait_for_executions(1, job="one", seconds=60)
    finally:
        yard.stop()
    # Then each run says that it is one of several, by its worker's name, and how it ended
    spans = yard.executions("all")
    ends = {s["otjobs.worker"].partition("@")[0]: s["otjobs.job.outcome"] for s in spans}
    assert ends == {"well": "success", "sick": "failure"}
    assert [s["otjobs.job.broadcast"] for s in spans] == [True, True]
    assert {s["otjobs.job.attempt"] for s in spans} == {1}
    # And a plain message does not
    (plain,) = yard.executions("one")
    assert "otjobs.job.broadcast" not in plain.attributes
    # And both are one job, on the queue that the application named
    (dispatch,) = [s for s in yard.spans if s.operation == "dispatch" and s.job == "all"]
    assert {s["messaging.destination.name"] for s in (dispatch, *spans)} == {f"{yard.queue}-everyone"}
    assert len({(s.trace, s["otjobs.job.enqueued_at"]) for s in (dispatch, *spans)}) == 1
