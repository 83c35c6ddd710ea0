"""The distro's default, OTLP over gRPC, under a forking pool: no child hangs, no span is lost."""

from __future__ import annotations

import pytest
from away import grpc_port
from celery_main_harness import brief, counting, stop

pytestmark = [pytest.mark.redis, pytest.mark.slow]


@pytest.fixture
def grpc_collector(collector):
    """A gRPC port of the test's receiver; metrics are counted."""
    counts = {"metrics": 0}

    def count():
        counts["metrics"] += 1

    with grpc_port(collector.take, count) as url:
        yield url, counts


def test_fifty_jobs_in_recycled_children_while_the_main_process_exports(yard, grpc_collector):
    url, counts = grpc_collector
    default = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_METRIC_EXPORT_INTERVAL": "300",
        "OTEL_BSP_SCHEDULE_DELAY": "10",
    }
    worker = yard.worker("--max-tasks-per-child", "2", concurrency=4, **default)
    yard.produce(
        # Unknown jobs give the main process something to export all the while.
        "for n in range(300):\n"
        "    app.send_task('yard.nowhere', task_id=f'unknown-{n}')\n"
        "    if n % 6 == 0: quick.apply_async(task_id=f'job-{n // 6}')\n"
        "    if n % 100 == 0: killed.apply_async(task_id=f'killed-{n // 100}')\n"
        "    if n % 100 == 50: counts.apply_async(task_id=f'counts-{n // 100}')\n",
        **default,
    )
    yard.wait_for("ended", 53, seconds=60)
    yard.wait_for_executions(356, seconds=90)
    stop(worker)
    found = {job: brief(counting(spans))[0] for job, spans in yard.jobs().items()}
    assert found == {
        **{f"job-{n}": "success" for n in range(50)},
        **{f"counts-{n}": "success" for n in range(3)},
        **{f"killed-{n}": "lost" for n in range(3)},
        **{f"unknown-{n}": "rejected" for n in range(300)},
    }
    assert len([s for s in yard.spans if s.operation == "dispatch"]) == 356
    assert len({e["pid"] for e in yard.seen("ended")}) >= 10
    assert counts["metrics"] > 0


def test_a_main_process_without_a_collector_does_not_hang_either(yard):
    worker = yard.worker(
        "--max-tasks-per-child",
        "2",
        concurrency=2,
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
        OTEL_EXPORTER_OTLP_TIMEOUT="300",
        OTEL_PYTHON_OTJOBS_FLUSH_SECONDS="1",
    )
    for _ in range(6):
        yard.app.send_task("yard.quick", queue=yard.queue)
    yard.app.send_task("yard.nowhere", queue=yard.queue)
    yard.wait_for("ended", 6, seconds=90)
    stop(worker)
    assert "of its spans are lost" in worker.output(100_000)
