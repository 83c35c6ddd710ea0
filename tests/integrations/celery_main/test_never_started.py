"""Revoked, expired, rejected, unknown: one execute span of no length, on every pool."""

from __future__ import annotations

import json
import time

import parts
import pytest
from celery_main_harness import brief, counting, stop
from kombu import Connection, Exchange, Producer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

CANCELLED = ("cancelled", "Revoked", False)
EXPIRED = ("expired", "", False)
REJECTED = "rejected"


def raw(yard, headers, body=b"[[], {}, {}]", **options):
    """Put a message of our own making on the queue."""
    with Connection(yard.broker) as connection:
        Producer(connection).publish(
            body,
            exchange=Exchange(""),
            routing_key=yard.queue,
            headers={
                "lang": "py",
                "root_id": headers.get("id"),
                "argsrepr": "()",
                "kwargsrepr": "{}",
                "origin": "test",
                **headers,
            },
            content_type=options.pop("content_type", "application/json"),
            content_encoding="utf-8",
            correlation_id=headers.get("id"),
            **options,
        )


@pytest.fixture(scope="module", params=["prefork", "threads", "solo"])
def ended(request, tmp_path_factory, collector, redis_url):
    """Every way to end without a start, on one worker of each pool."""
    from celery_main_harness import Yard

    yard = Yard(tmp_path_factory.mktemp("yard"), collector, redis_url)
    yard.pool = request.param
    try:
        worker = yard.worker(pool=request.param, concurrency=1)
        control = yard.app.control
        told = {"reply": True, "timeout": 5, "limit": 1}
        control.revoke(["revoked-early"], **told)
        control.revoke_by_stamped_headers({"customer": "acme"}, **told)
        yard.produce(
            "from datetime import UTC, datetime, timedelta\n"
            "soon = datetime.now(UTC) + timedelta(seconds=10)\n"
            "log('soon', due=soon.timestamp())\n"
            "quick.apply_async(task_id='revoked-early')\n"
            "quick.apply_async(task_id='revoked-eta', eta=soon)\n"
            "quick.apply_async(task_id='expired-eta', eta=soon, expires=0.5)\n"
            "sleepy.apply_async((6.0,), task_id='blocks')\n"
            # Other pools run what they have already taken, revoked or not.
            f"quick.apply_async(task_id='{'revoked-waiting' if request.param == 'prefork' else 'runs-next'}')\n"
            "quick.apply_async(task_id='expired-waiting', expires=1.0)\n"
            "quick.s().set(task_id='stamped', customer='acme', stamped_headers=['customer']).apply_async()\n"
            "app.send_task('yard.nowhere', task_id='unknown', link_error=None)\n"
            "quick.apply_async(task_id='runs')\n"
        )
        yard.wait_for("started", job="blocks")
        # A solo worker's only thread hears nothing while the job runs; what is sent to it waits.
        control.revoke(["revoked-waiting", "revoked-eta"], **({} if request.param == "solo" else told))
        raw(yard, {"id": "garbled", "task": "yard.quick"}, body=b"\x00{{{")
        raw(yard, {"id": "pickled", "task": "yard.quick"}, body=b"x", content_type="application/x-python-serialize")
        raw(
            yard, {"id": "bad-eta", "task": "yard.quick", "eta": "tomorrow-ish"}, body=json.dumps([[], {}, {}]).encode()
        )
        raw(yard, {"id": "bad-carrier", "task": "yard.quick", "otjobs": [1, 2]}, body=json.dumps([[], {}, {}]).encode())
        raw(yard, {})  # no task message at all
        yard.wait_for("ended", job="runs")
        yard.wait_for("ended", job="bad-carrier")
        time.sleep(max(0.0, yard.seen("soon")[0]["due"] - time.time()))

        def discarded():
            return worker.output(200_000).count("Discarding revoked task") >= (6 if request.param == "prefork" else 5)

        parts.wait_until(discarded, seconds=90, what="all discarded jobs")
        stop(worker)
        yield yard
    finally:
        yard.stop()


WANTED = {
    "revoked-early": CANCELLED,
    "revoked-eta": CANCELLED,
    "stamped": CANCELLED,
    "expired-waiting": EXPIRED,
    "expired-eta": EXPIRED,
    "unknown": (REJECTED, "NotRegistered", False),
    "garbled": (REJECTED, "DecodeError", False),
    "pickled": (REJECTED, "ContentDisallowed", False),
    "bad-eta": (REJECTED, "InvalidTaskError", False),
}


def test_each_has_one_span_of_no_length(ended):
    found = ended.jobs()
    assert [brief(span) for span in found.pop("revoked-waiting", [])] == [CANCELLED] * (ended.pool == "prefork")
    assert {job: [brief(span) for span in found.get(job, [])] for job in WANTED} == {
        job: [want] for job, want in WANTED.items()
    }
    assert set(found) - {"runs-next"} == {*WANTED, "blocks", "runs", "bad-carrier"}
    assert not {e["job"] for e in ended.seen("started")} & set(WANTED)
    for job in WANTED:
        [span] = found[job]
        assert span.start == span.end
        assert (span["otjobs.job.attempt"], span["otjobs.job.dispatched"], span["otjobs.job.type"]) == (
            1,
            0,
            "yard.nowhere" if job == "unknown" else "yard.quick",
        )
        assert span["messaging.destination.name"] == ended.queue
        assert span["otjobs.worker"].startswith("worker@")
        assert span.get("otjobs.job.dead_letter", False) is (span["otjobs.job.outcome"] == REJECTED)
        assert span.status == ("ERROR" if span["otjobs.job.outcome"] == REJECTED else "UNSET")


def test_they_belong_to_their_dispatch(ended):
    for job in ("revoked-early", "revoked-eta", "stamped", "expired-waiting", "expired-eta", "unknown"):
        [dispatch] = [s for s in ended.spans if s.operation == "dispatch" and s.job == job]
        [span] = ended.executions(job)
        assert (span.trace, span.parent) == (dispatch.trace, dispatch.id)
        assert span["otjobs.job.enqueued_at"] == dispatch["otjobs.job.enqueued_at"]
    [span] = ended.executions("expired-eta")
    assert span["otjobs.job.expires_at"] < span["otjobs.job.due_at"]


def test_a_broken_carrier_costs_nothing_but_itself(ended):
    [span] = ended.executions("bad-carrier")
    assert brief(span) == ("success", "", False)
    assert "otjobs.job.enqueued_at" not in span.attributes


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL", "SIGUSR1"])
def test_a_job_terminated_while_it_runs(yard, signal):
    worker = yard.worker(concurrency=2)
    jobs = [yard.app.send_task("yard.sleepy", (60,), queue=yard.queue).id for _ in range(2)]
    yard.wait_for("started", 2)
    yard.app.control.revoke(jobs, terminate=True, signal=signal)
    yard.wait_for_executions(2, seconds=90)
    [after] = [yard.app.send_task("yard.quick", queue=yard.queue).id]
    yard.wait_for("ended", job=after)
    stop(worker)
    # SIGUSR1 is the soft time limit: the job raises, and the process that ran it reports how it ended.
    want = ("failure", "SoftTimeLimitExceeded", False) if signal == "SIGUSR1" else ("cancelled", "Terminated", True)
    for job in jobs:
        spans = yard.executions(job)
        assert brief(counting(spans)) == want
        assert len(spans) == (2 if signal == "SIGUSR1" else 1)
        [begun] = yard.seen("started", job)
        assert 0 <= begun["at"] - spans[0].start < parts.BUSY_NS
    assert brief(*yard.executions(after)) == ("success", "", False)


def test_rate_limited_jobs_run_and_can_be_revoked(yard):
    worker = yard.worker(concurrency=2)
    jobs = [yard.app.send_task("yard.slowly", queue=yard.queue).id for _ in range(4)]
    yard.app.control.revoke(jobs[3:], reply=True, timeout=5, limit=1)
    yard.wait_for("ended", 3)
    yard.wait_for_executions(1, jobs[3])
    stop(worker)
    found = {job: [brief(s) for s in spans] for job, spans in yard.jobs().items()}
    assert found == {**dict.fromkeys(jobs[:3], [("success", "", False)]), jobs[3]: [CANCELLED]}
    spans = [yard.executions(job)[0] for job in jobs[:3]]
    assert (max(s.start for s in spans) - min(s.start for s in spans)) / 1e9 > 0.4
