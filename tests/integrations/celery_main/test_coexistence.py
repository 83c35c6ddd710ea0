"""Beside other instrumentations: the stock Celery one, the client ones; and no fault of ours reaches a job."""

from __future__ import annotations

import importlib

import pytest
from celery.utils.dispatch import Signal
from celery_main_harness import stop

pytestmark = [pytest.mark.redis, pytest.mark.slow]

OURS = {"otjobs"}
STOCK = {"opentelemetry.instrumentation.celery"}
STEPS_BACK = "steps back, so that no job is traced twice"


def scopes(yard, job=None):
    return {s.scope for s in yard.spans if job in (None, s.job)}


def test_zero_code_both_installed_exactly_ours(yard):
    worker = yard.worker()
    producer = yard.produce("for n in range(4): quick.apply_async(task_id=f'job-{n}')")
    yard.wait_for("ended", 4)
    stop(worker)
    assert scopes(yard) == OURS
    assert sorted(s.name for s in yard.spans) == ["dispatch yard.quick"] * 4 + ["execute yard.quick"] * 4
    assert worker.output(100_000).count(STEPS_BACK) == 1
    assert producer.output().count(STEPS_BACK) == 1


def test_disabled_by_name_it_leaves_the_stock_one_alone(yard):
    worker = yard.worker(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="otjobs_celery,redis")
    producer = yard.produce(
        "quick.apply_async(task_id='job')", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="otjobs_celery,redis"
    )
    yard.wait_for("ended", 1)
    stop(worker)
    assert scopes(yard) <= STOCK
    assert "apply_async/yard.quick" in {s.name for s in yard.spans}
    assert STEPS_BACK not in worker.output(100_000) + producer.output()


PROGRAM = """
import logging
logging.basicConfig(level=logging.WARNING)
from opentelemetry.instrumentation.celery import CeleryInstrumentor as Stock
from otjobs.integrations.celery import CeleryInstrumentor as Ours

def run(job):
    app.conf.task_always_eager = False
    quick.apply_async(task_id=job)

{order}
run('both')
Ours().uninstrument()
run('stock-again')
Ours().instrument()
run('ours-again')
Stock().uninstrument()
Ours().uninstrument()
run('none')
"""


@pytest.mark.parametrize(
    "order", ["Stock().instrument(); Ours().instrument()", "Ours().instrument(); Stock().instrument()"]
)
def test_programmatic_in_both_orders(yard, order):
    program = yard.produce(
        PROGRAM.format(order=order), OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="celery,otjobs_celery,redis"
    )
    assert {job: scopes(yard, job) for job in ("both", "stock-again", "ours-again", "none")} == {
        "both": OURS,
        "stock-again": STOCK,
        "ours-again": OURS,
        "none": set(),
    }, program.output()
    assert [s.operation for s in yard.spans if s.job == "both"] == ["dispatch"]


def test_uninstrument_restores_everything():
    from otjobs.integrations.celery import CeleryInstrumentor

    modules = [importlib.import_module(name) for name in CeleryInstrumentor.changes]

    def state():
        found = {(module.__name__, name): value for module in modules for name, value in vars(module).items()}
        for (module, owner), value in list(found.items()):
            if isinstance(value, type):
                found.update({(module, f"{owner}.{name}"): inner for name, inner in vars(value).items()})
            elif isinstance(value, Signal):
                found[module, f"{owner}.receivers"] = len(value.receivers)
        return found

    CeleryInstrumentor().instrument()  # makes the other instrumentor, of which there is one
    CeleryInstrumentor().uninstrument()
    before = state()
    for _ in range(2):
        CeleryInstrumentor().instrument()
        changed = {key[0] for key, value in state().items() if before.get(key) is not value}
        assert changed == set(CeleryInstrumentor.changes)
        CeleryInstrumentor().uninstrument()
        assert state() == before


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_spans_of_a_jobs_own_client_calls_stay_those_of_polling_do_not_arise(yard, pool):
    worker = yard.worker("--max-tasks-per-child", "1", pool=pool, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="celery")
    jobs = [yard.app.send_task("yard.looks_up", queue=yard.queue).id for _ in range(4)]
    yard.wait_for("ended", 4)
    stop(worker)
    executions = {s.id: s for s in yard.executions()}
    assert {s.job for s in executions.values()} == set(jobs)
    clients = [s for s in yard.spans if s.scope == "opentelemetry.instrumentation.redis"]
    gets = [s for s in clients if s.name == "GET"]
    assert {executions[s.parent].job for s in gets} == set(jobs)
    # What is left besides belongs to a job, too: storing its result.
    assert {s.name for s in clients if s.parent not in executions} == set()
    assert "BRPOP" not in {s.name for s in clients}


def test_when_everything_of_ours_fails_jobs_do_not_notice(yard):
    worker = yard.worker("--max-tasks-per-child", "2", concurrency=3, YARD_SABOTAGE="1")
    # The producer fails as well, with every publication.
    yard.produce(
        "for n in range(4): quick.apply_async(task_id=f'job-{n}')\n"
        "boom.apply_async(task_id='boom')\n"
        "exits_once.apply_async(task_id='exits_once')\n"
        "exits_and_retries.apply_async(task_id='exits_and_retries')\n"
        "overtime.apply_async(task_id='overtime', link_error=complain.s())\n"
        "app.send_task('yard.nowhere', task_id='unknown')\n"
        "(quick.si() | quick.si()).apply_async()\n",
        YARD_SABOTAGE="1",
    )
    yard.app.control.revoke(["revoked"], reply=True, timeout=5, limit=1)
    yard.app.send_task("yard.quick", task_id="revoked", queue=yard.queue)
    yard.wait_for("ended", 4 + 1 + 1 + 2 + 1)  # with overtime's child
    yard.wait_for("complained", 1, job="overtime")
    stop(worker)
    assert worker.popen.returncode == 0
    assert [s for s in yard.spans if s.job] == []
    assert "sabotaged" in worker.output(100_000)
    assert yard.app.AsyncResult("job-0").state == "SUCCESS"
    assert {name: yard.app.AsyncResult(name).state for name in ("boom", "overtime", "revoked", "unknown")} == {
        "boom": "FAILURE",
        "overtime": "FAILURE",
        "revoked": "REVOKED",
        "unknown": "FAILURE",
    }


def test_trace_ids_in_task_logs(yard):
    worker = yard.worker(
        YARD_TRACE_IDS="1",
        conf={
            "worker_task_log_format": "%(message)s trace_id=%(trace_id)s span_id=%(span_id)s",
            "worker_redirect_stdouts": False,
        },
        concurrency=1,
    )
    job = yard.app.send_task("yard.says", queue=yard.queue).id
    yard.wait_for("ended", 1)
    stop(worker)
    [span] = yard.executions(job)
    assert f"said by {job} trace_id={span.trace} span_id={span.id}" in worker.output(100_000)
