"""What the spans become in the views."""

from __future__ import annotations

import json

import parts
import pytest
import requests
from facts import verify

pytestmark = pytest.mark.redis
QUESTION = """
SELECT job_id, job_type, queue, system, state, attempts, error_type, dead_letter, parent_id, trigger, dispatched, worker,
    enqueued_at, started_at, ended_at, queue_seconds, run_seconds
FROM otjobs.jobs
FORMAT JSON
"""


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """An embedded server."""
    parts.require("chdb")
    from otjobs.backend.server import Server

    with Server(tmp_path_factory.mktemp("views") / "data") as server:
        yield server.endpoints


def rows(views, bodies):
    for body in bodies:
        headers = {"Content-Type": "application/x-protobuf"}
        requests.post(f"{views.otlp_http}/v1/traces", body, headers=headers, timeout=60).raise_for_status()
    answer = requests.post(
        f"http://{views.host}:{views.sql_port}/",
        QUESTION,
        params={"output_format_json_quote_64bit_integers": "0"},
        timeout=60,
    )
    answer.raise_for_status()
    return {row["job_id"]: row for row in json.loads(answer.text)["data"]}


def test_a_job_is_one_row(library, views):
    """A job is one row of the view `jobs`, with its state, attempts, times and waits"""
    story, handed_on = library.story(), len(library.receiver.bodies)
    ids = {
        "succeeded": library.producer.send("parent", 1),
        "failed": library.producer.send("fail"),
        "retried": library.producer.send("fail_at_first", 1, retries=1),
        "exhausted": library.producer.send("fail_at_first", 9, retries=1),
    }
    story.wait(executed=7, dispatched=5)
    truth = verify(story, library)
    found = rows(views, library.receiver.bodies[handed_on:])
    states = {job: found[job]["state"] for job in ids.values()}
    assert states == dict(zip(ids.values(), ("succeeded", "failed", "succeeded", "failed"), strict=True))
    assert set(truth.published) <= set(found)
    for job, published in truth.published.items():
        row, spans = found[job], [span for span in story.executions if span.job == job]
        first, last, [dispatch] = spans[0], spans[-1], [span for span in story.dispatches if span.job == job]
        assert (row["job_type"], row["queue"], row["system"]) == (published["type"], "main", library.library.system)
        assert (row["attempts"], row["parent_id"]) == (len(truth.started[job]), published["by"])
        assert row["error_type"] == truth.ended[job][-1]["error"]
        assert bool(row["dead_letter"]) is (job == ids["exhausted"])
        assert row["trigger"] == ("job" if published["by"] else "manual")
        assert row["dispatched"] == (job == ids["succeeded"])
        assert row["worker"].startswith("worker")
        run_seconds = sum(span.end - span.start for span in spans) / 1e9
        queue_seconds = (first.start - dispatch["otjobs.job.enqueued_at"]) / 1e9
        assert row["run_seconds"] == pytest.approx(run_seconds, abs=1e-6)
        assert row["queue_seconds"] == pytest.approx(queue_seconds, abs=1e-6)
        assert (row["started_at"], row["ended_at"]) == (moment(first.start), moment(last.end))


def moment(nanoseconds):
    from datetime import UTC, datetime

    whole = datetime.fromtimestamp(nanoseconds // 10**9, UTC)
    return f"{whole:%Y-%m-%d %H:%M:%S}.{nanoseconds % 10**9:09d}"
