"""Nothing recorded is lost when processes end: recycled, shrunk, stopped, restarted, or killed after good work."""

from __future__ import annotations

import signal

import parts
import pytest
from celery_main_harness import MILLISECOND, brief, counting, stop

pytestmark = [pytest.mark.redis, pytest.mark.slow]

SUCCESS = ("success", "", False)


def publish(yard, count, task="quick", *args, **options):
    """Publish jobs from the un-instrumented test process."""
    return [yard.app.send_task(f"yard.{task}", args, queue=yard.queue, **options).id for _ in range(count)]


def assert_each_once(yard, jobs, outcome=SUCCESS):
    found = yard.jobs()
    assert set(found) == set(jobs)
    assert {job: [brief(span) for span in spans] for job, spans in found.items()} == {job: [outcome] for job in jobs}


def wait_for_success(worker, jobs):
    """Wait until Celery says that they succeeded: a child that is killed before, after the task's last line, failed."""
    parts.wait_until(
        lambda: all(f"Task yard.quick[{job}] succeeded" in worker.output(100_000) for job in jobs),
        seconds=40,
        what="the jobs' success",
    )


@pytest.mark.parametrize("count", [10, 100])
def test_children_recycled_after_every_job_lose_none(yard, count):
    # A child lives for about two seconds (billiard waits one of them), so 100 jobs need many at once.
    worker = yard.worker("--max-tasks-per-child", "1", concurrency=2 if count == 10 else 20)
    jobs = publish(yard, count)
    yard.wait_for("ended", count, seconds=120)
    stop(worker)
    assert_each_once(yard, jobs)
    assert len({e["pid"] for e in yard.seen("ended")}) == count


def test_children_recycled_for_their_memory_lose_none(yard):
    worker = yard.worker("--max-memory-per-child", "100000", concurrency=1)
    jobs = publish(yard, 3, "hungry", 120)
    yard.wait_for("ended", 3)
    stop(worker)
    assert_each_once(yard, jobs)
    assert len({e["pid"] for e in yard.seen("ended")}) == 3


def test_a_shrinking_and_a_restarted_pool_lose_none(yard):
    worker = yard.worker(concurrency=3)
    control = yard.app.control
    jobs = publish(yard, 6)
    wait_for_success(worker, jobs)
    control.pool_shrink(2, reply=True, timeout=5, limit=1)
    # The shrunk children leave their spans at once, the last child keeps its own until its batch is due.
    first = {e["pid"] for e in yard.seen("ended")}
    jobs += publish(yard, 2)
    wait_for_success(worker, jobs)
    control.pool_restart(reply=True, timeout=5, limit=1)
    jobs += publish(yard, 2)
    yard.wait_for("ended", 10)
    assert {e["pid"] for e in yard.seen("ended")} - first
    stop(worker)
    # A terminated child that had sent its spans ends like one that had not, so the main process may repeat its jobs.
    assert {job: brief(counting(spans)) for job, spans in yard.jobs().items()} == dict.fromkeys(jobs, SUCCESS)


def test_a_warm_shutdown_right_after_the_jobs_loses_none(yard):
    worker = yard.worker(concurrency=2)
    jobs = publish(yard, 20)
    yard.wait_for("ended", 20)
    stop(worker)
    assert_each_once(yard, jobs)


def test_a_warm_shutdown_waits_for_what_runs(yard):
    worker = yard.worker(concurrency=2)
    jobs = publish(yard, 2, "sleepy", 1.5)
    yard.wait_for("started", 2)
    stop(worker)
    assert len(yard.seen("ended")) == 2
    assert_each_once(yard, jobs)


@pytest.mark.parametrize("how", ["SIGQUIT", "SIGINT twice"])
def test_a_cold_shutdown_reports_what_it_kills(yard, how):
    worker = yard.worker(concurrency=3)
    [early, late] = publish(yard, 1, "sleepy", 60) + publish(yard, 1, "sleepy_late", 60)
    done = publish(yard, 5)
    wait_for_success(worker, done)
    yard.wait_for("started", 7)
    if how == "SIGQUIT":
        stop(worker, signal.SIGQUIT)
    else:
        worker.signal(signal.SIGINT)
        parts.wait_until(lambda: "Hitting Ctrl+C again" in worker.output(), seconds=90)
        stop(worker, signal.SIGINT)
    assert [brief(span) for span in yard.executions(early)] == [("lost", "WorkerTerminate", True)]
    assert [brief(span) for span in yard.executions(late)] == [("retry", "WorkerTerminate", True)]
    # A killed child that had sent its spans ends like one that had not: the report of the child counts.
    assert {job: brief(counting(yard.executions(job))) for job in done} == dict.fromkeys(done, SUCCESS)
    # What was not acknowledged is delivered again, as the next attempt.
    worker = yard.worker(name="second", concurrency=1)
    yard.wait_for("started", 2, job=late)
    stop(worker, signal.SIGQUIT)
    assert [(s["otjobs.job.attempt"], brief(s)[0]) for s in yard.executions(late)] == [(1, "retry"), (2, "retry")]


def test_a_soft_shutdown_lets_jobs_end_and_reports_the_rest(yard):
    worker = yard.worker(concurrency=2, conf={"worker_soft_shutdown_timeout": 2.0})
    [short] = publish(yard, 1, "sleepy", 1.0)
    [long] = publish(yard, 1, "sleepy", 60)
    yard.wait_for("started", 2)
    stop(worker, signal.SIGQUIT)
    # Celery may kill what has just ended, for it reads no results while it waits; the child's report counts.
    found = {job: brief(counting(spans)) for job, spans in yard.jobs().items()}
    assert found == {short: SUCCESS, long: ("lost", "WorkerTerminate", True)}


def test_jobs_that_a_killed_child_had_finished_are_reported_by_the_main_process(yard):
    """Their spans were still in the child."""
    worker = yard.worker(concurrency=1, OTEL_BSP_SCHEDULE_DELAY="600000")
    jobs = publish(yard, 10)
    [failed] = publish(yard, 1, "boom")
    [killed] = publish(yard, 1, "killed")
    after = publish(yard, 3)
    yard.wait_for("ended", 13)
    stop(worker)
    found = {job: [brief(span) for span in spans] for job, spans in yard.jobs().items()}
    assert found.pop(killed) == [("lost", "WorkerLostError", True)]
    assert found.pop(failed) == [("failure", "ValueError", True)]
    assert [found.pop(job) for job in after] == [[SUCCESS]] * 3
    assert found == {job: [("success", "", True)] for job in jobs}
    for job in jobs:
        [span], [begun], [ended] = yard.executions(job), yard.seen("started", job), yard.seen("ended", job)
        # The main process converts the child's monotonic clock.
        assert -2 * MILLISECOND < begun["at"] - span.start < parts.BUSY_NS
        assert -2 * MILLISECOND < span.end - ended["at"] < parts.BUSY_NS
    # One child ran them one after the other, and so they are told.
    runs = sorted((span for job in jobs for span in yard.executions(job)), key=lambda span: span.start)
    for ended, span in zip(sorted(yard.seen("ended"), key=lambda e: e["at"]), runs[1:], strict=False):
        assert ended["at"] - 2 * MILLISECOND < span.start


def test_spawned_children_lose_none(yard):
    # A child is an interpreter of its own; on a busy machine it is not up within the four seconds that Celery gives it.
    conf = {"worker_pool_start_method": "spawn", "worker_proc_alive_timeout": 120.0}
    worker = yard.worker("--max-tasks-per-child", "2", concurrency=2, conf=conf)
    jobs = publish(yard, 5)
    [killed] = publish(yard, 1, "killed")
    yard.wait_for("ended", 5)
    yard.wait_for_executions(1, killed)
    stop(worker)
    found = {job: brief(span)[0] for job, [span] in yard.jobs().items()}
    assert found == {**dict.fromkeys(jobs, "success"), killed: "lost"}
    assert len({e["pid"] for e in yard.seen("started")}) >= 3


def test_a_forked_multiprocessing_child_of_a_job_loses_none(yard):
    worker = yard.worker(concurrency=1)
    [job] = publish(yard, 1, "forks")
    yard.wait_for("ended", 2)
    stop(worker)
    child = f"forked-by-{job}"
    [dispatch] = [s for s in yard.spans if s.operation == "dispatch"]
    assert (dispatch.job, dispatch["otjobs.job.parent.id"]) == (child, job)
    assert_each_once(yard, [job, child])


ENDS = {
    "the script's end": ("", 0),
    "sys.exit": ("sys.exit(4)", 4),
    "an exception": ("raise RuntimeError('unplanned')", 1),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_producer_that_ends_at_once_loses_none(yard, end):
    code, status = ENDS[end]
    producer = yard.produce(f"for n in range(20): quick.apply_async(task_id=f'job-{{n}}')\n{code}", check=False)
    assert producer.popen.returncode == status, producer.output()
    dispatched = [s.job for s in yard.spans if s.operation == "dispatch"]
    assert sorted(dispatched) == sorted(f"job-{n}" for n in range(20))
