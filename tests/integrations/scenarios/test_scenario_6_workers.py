"""Every kind of worker, and a worker that is killed."""

from __future__ import annotations

import parts
import psutil
import pytest
from facts import tree, verify

pytestmark = pytest.mark.redis


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_kind_of_worker(library, kind):
    """Every kind of worker gives the same spans"""
    name = f"kind-{library.library.kinds.index(kind)}"
    worker = library.start_worker(name, kind=kind, queues=[name])
    try:
        story = library.story()
        sends = [
            {"job": "fail_at_first", "args": [1], "retries": 1},
            {"job": "fail"},
            {"job": "burn", "args": [0.3]},
            {"job": "add", "args": [1], "delay": 1},
            {"job": "nap", "args": [0.1]},
        ]
        library.producer.run("send_many", sends=[{"queue": name, **one} for one in sends])
        story.wait(executed=6, dispatched=5, seconds=180)  # an interpreter for each job takes its time
        assert tree(story) == [
            "dispatch add",
            "  execute add #1 success",
            "dispatch burn",
            "  execute burn #1 success",
            "dispatch fail",
            "  execute fail #1 failure Broken",
            "dispatch fail_at_first",
            "  execute fail_at_first #1 retry Broken",
            "  execute fail_at_first #2 success",
            "dispatch nap",
            "  execute nap #1 success",
        ]
        verify(story, library, kind=kind, worker=name)
        cpu = {span["otjobs.job.type"]: span.get("otjobs.job.cpu_seconds") for span in story.executions}
        if cpu["application.jobs.burn"] is not None:
            assert cpu["application.jobs.nap"] < 0.1
            assert cpu["application.jobs.burn"] >= 0.3
    finally:
        code = worker.stop()
    assert code == 0


def test_a_worker_that_is_killed(library):
    """The job of a worker that is killed with all its processes runs again as the next attempt"""
    first = library.start_worker("killed", queues=["killed"], forgetful=True)
    story = library.story()
    job = library.producer.send("nap_at_first", 60, queue="killed", retries=1)
    parts.wait_until(lambda: any(event["what"] == "started" for event in story.log), what="the job starts")
    kill(first.process)
    library.library.forget(library.broker)
    second = library.start_worker("survivor", queues=["killed"], forgetful=True)
    abandoned = library.library.abandoned
    story.wait(executed=1 + bool(abandoned))
    second.stop()
    run = story.executions[-1]
    assert (run.job, run["otjobs.job.attempt"], run["otjobs.job.outcome"]) == (job, 2, "success")
    assert (run.trace, run.parent) == (story.dispatches[0].trace, story.dispatches[0].id)
    assert run["otjobs.job.enqueued_at"] == story.dispatches[0]["otjobs.job.enqueued_at"]
    assert run.get("otjobs.job.redelivered", False) is library.library.redelivers
    if abandoned:
        dead = story.executions[0]
        assert (dead["otjobs.job.attempt"], dead["otjobs.job.outcome"], dead["error.type"]) == (1, "retry", abandoned)
        assert dead["otjobs.job.observed"] is True


def kill(process):
    """Kill a worker with its children, which may have left its process group."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in family:
        one.kill()
    process.kill()
    psutil.wait_procs(family)
