"""A job that a canvas replaces: it ends with the canvas, whatever a step of that does."""

from __future__ import annotations

import json

import celery
import parts
import pytest
import redis
from celery_main_harness import Yard, counting, stop

pytestmark = [pytest.mark.redis, pytest.mark.slow]

CONF = {"imports": ["yard_endings"]}
SUCCESS = ("success", "")
WENT_WRONG = {
    "boom": ("failure", "ZeroDivisionError"),
    "rejected": ("failure", "Reject"),
    "killed": ("failure", "WorkerLostError"),
    "unknown": ("failure", "NotRegistered"),
    "retrying": ("failure", "ValueError"),
    "unserialisable": ("failure", "EncodeError"),
    "expired": ("expired", ""),
    # Celery never goes on after an ignored step, and says nothing of the rest.
    "ignored": ("cancelled", "Ignore"),
}
SHAPES = ["chain", "deep chain", "chord", "group", "chain of a chord", "nested"]
CASES = {
    **{(shape, "ok"): SUCCESS for shape in [*SHAPES, "task"]},
    **{(shape, step): ended for step, ended in WENT_WRONG.items() for shape in ("chain", "chord")},
    # Celery publishes the next step before it finds that it cannot store this one's result.
    ("chain", "unserialisable"): SUCCESS,
    **{(shape, "boom"): WENT_WRONG["boom"] for shape in [*SHAPES, "task"]},
}


def name(case):
    return "+".join(case).replace(" ", "-")


@pytest.fixture(scope="module", params=["child alive", "child killed", "steps excluded", "a backend that polls"])
def replaced(request, tmp_path_factory, collector, redis_url):
    folder = tmp_path_factory.mktemp("replaced")
    yard = Yard(folder, collector, redis_url)
    yard.killed = request.param == "child killed"
    conf = dict(CONF)
    environment = {"OTEL_BSP_SCHEDULE_DELAY": "600000"} if yard.killed else {}
    cases = CASES
    if request.param == "steps excluded":
        environment["OTEL_PYTHON_OTJOBS_EXCLUDED_TYPES"] = "celery.*,yard.ends_badly,yard.exits,yard.exhausts"
        cases = {
            case: ended for case, ended in CASES.items() if case[0] == "group" or case[1] in ("killed", "retrying")
        }
    elif request.param == "a backend that polls":
        conf |= {"result_backend": f"db+sqlite:///{folder}/results.db", "result_chord_retry_interval": 0.2}
        cases = {
            case: ended for case, ended in CASES.items() if case[0] in ("chord", "group") and case[1] in ("ok", "boom")
        }
        if celery.VERSION < (5, 6):  # Celery says no more of what failed
            cases = {case: ended if ended == SUCCESS else ("failure", "ChordError") for case, ended in cases.items()}
    yard.cases = {name(case): ended for case, ended in cases.items()}
    try:
        worker = yard.worker(concurrency=1, conf=conf, **environment)
        code = "from yard_endings import *\n"
        code += "".join(
            f"is_replaced_by.apply_async({case!r}, task_id={name(case)!r}, shadow=None)\n" for case in cases
        )
        yard.produce(code, conf=conf, **environment)
        if yard.killed:
            wait_until_idle(yard)
            yard.produce("from yard_endings import *\ndies.apply_async(task_id='dies')\n", name="killer", conf=conf)
            yard.wait_for("started", job="dies")
            parts.wait_until(lambda: "signal 9 (SIGKILL) Job" in worker.output(100_000), seconds=40, what="the death")
        else:
            parts.wait_until(lambda: set(yard.cases) <= second_attempts(yard), seconds=90, what="every second attempt")
        stop(worker)
        yield yard
    finally:
        yard.stop()


def second_attempts(yard):
    return {s.job for s in yard.executions() if s["otjobs.job.attempt"] == 2}


def wait_until_idle(yard):
    """Wait until no job waits or runs, seen twice: a job is on its way between two looks at most once."""
    inspect = yard.app.control.inspect(timeout=5, limit=1)
    client = redis.Redis.from_url(yard.broker)

    def idle():
        looks = [client.llen(yard.queue)]
        for _ in range(2):
            looks += [
                sum(map(len, (look() or {"": [1]}).values()))
                for look in (inspect.active, inspect.reserved, inspect.scheduled)
            ]
            looks.append(client.llen(yard.queue))
        return not any(looks)

    parts.wait_until(idle, seconds=90, what="an idle worker")


def test_it_has_ended_as_its_canvas_has(replaced):
    found = {}
    for job in replaced.cases:
        spans = replaced.executions(job)
        # A step that dies takes its child along: then the main process reports the attempts before, too.
        first = counting([s for s in spans if s["otjobs.job.attempt"] == 1])
        later = [s for s in spans if s["otjobs.job.attempt"] == 2]
        assert (first["otjobs.job.outcome"], first.get("error.type", "")) == ("retry", "")
        assert {s["otjobs.job.attempt"] for s in spans} == {1, 2}
        assert {s.trace for s in later} == {first.trace}
        assert {s["otjobs.job.type"] for s in later} == {"yard.is_replaced_by"}
        assert {s["otjobs.job.enqueued_at"] for s in later} == {first["otjobs.job.enqueued_at"]}
        counts = counting(later)
        found[job] = counts["otjobs.job.outcome"], counts.get("error.type", "")
    assert found == replaced.cases


def test_an_attempt_that_never_ran_has_no_length(replaced):
    started = {job: len(replaced.seen("started", job)) for job in replaced.cases}
    for job, ended in replaced.cases.items():
        never_ran = [s for s in replaced.executions(job) if s["otjobs.job.attempt"] == 2 and started[job] == 1]
        for span in never_ran if ended != SUCCESS else []:
            assert span.start == span.end == span["otjobs.job.published_at"]
            assert "otjobs.job.dispatched" not in span.attributes or span["otjobs.job.dispatched"] == 0


def test_what_waits_travels_in_a_header_of_our_own_and_nowhere_else(replaced):
    """The user's signatures stay as they are: no header of ours in any chain or chord that a message holds."""
    assert not [e for e in replaced.seen("canvas") if "otjobs" in json.dumps(e["canvas"])]
    assert replaced.seen("canvas")
