"""Replaced jobs as a reader of the views sees them: they end, and so does their workflow."""

from __future__ import annotations

import json

import parts
import pytest
import requests
from celery_main_harness import Yard, stop
from otlp_receiver import Receiver

from otjobs.backend.server import Server

pytestmark = [pytest.mark.redis, pytest.mark.slow]

CONF = {"imports": ["yard_endings"]}
SHAPES = ("chain", "chord", "group", "task")
STATES = {
    **{f"{shape}+ok": ("succeeded", "") for shape in SHAPES},
    **{f"{shape}+boom": ("failed", "ZeroDivisionError") for shape in SHAPES},
    "chain+killed": ("failed", "WorkerLostError"),
    "chain+ignored": ("cancelled", "Ignore"),
    "chain+expired": ("expired", ""),
}
QUESTION = """
SELECT job_id, j.state AS state, error_type, w.complete AS complete, w.open_jobs AS open_jobs
FROM otjobs.jobs AS j INNER JOIN otjobs.workflows AS w USING (workflow_id)
WHERE j.job_id LIKE '%+%'
"""


def test_a_replaced_job_and_its_workflow_end_with_the_canvas(tmp_path, redis_url):
    with Server(tmp_path / "data") as server:
        at = server.endpoints

        def hand_on(body):
            answer = requests.post(
                at.otlp_http + "/v1/traces", body, headers={"Content-Type": "application/x-protobuf"}, timeout=60
            )
            assert answer.status_code == 200, answer.text

        def ask():
            answer = requests.post(
                f"http://{at.host}:{at.sql_port}/", QUESTION, params={"default_format": "JSONCompact"}, timeout=60
            )
            assert answer.status_code == 200, answer.text
            return {row[0]: tuple(row[1:]) for row in json.loads(answer.text)["data"]}

        collector = Receiver(take=hand_on)
        yard = Yard(tmp_path, collector, redis_url)
        try:
            worker = yard.worker(concurrency=1, conf=CONF)
            code = "from yard_endings import *\n"
            code += "".join(
                f"is_replaced_by.apply_async({tuple(job.split('+'))!r}, task_id={job!r})\n" for job in STATES
            )
            yard.produce(code, conf=CONF)
            wanted = {job: (*state, 1, 0) for job, state in STATES.items()}

            def settled():
                found = ask()
                return {job: tuple(map(_plain, row)) for job, row in found.items()} == wanted

            try:
                parts.wait_until(settled, seconds=90, every=1, what="the ends of all jobs")
            except TimeoutError:
                assert ask() == wanted
            stop(worker)
        finally:
            yard.stop()
            collector.close()


def _plain(value):
    """Integers come as they are, or as text where they have 64 bits; a flag may be a boolean."""
    return int(value) if isinstance(value, bool) or (isinstance(value, str) and value.isdigit()) else value
