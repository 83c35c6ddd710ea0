"""The parameters that each named query is tried with, and the rows it must give; see test_queries.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

ORDER, REPORT, OPEN = ("a" * 32, "b" * 32, "c" * 32)


@dataclass(frozen=True)
class Elapsed:
    """Seconds from a moment of the history until now."""

    since: float


@dataclass(frozen=True)
class Day:
    """The day of a moment of the history."""

    at: float


# Somebody waits until now, so rows follow for as long as that is.
OPEN_ENDED = ("throughput", "waiting_over_time")

PARAMETERS: dict[str, dict[str, Any]] = {
    "batches": {"window_seconds": 60},
    "job": {"job_id": "1"},
    "job_attempts": {"job_id": "1"},
    "job_children": {"job_id": "1", "workflow_id": ORDER},
    "job_ids": {"prefix": "r"},
    "job_root": {"job_id": "2"},
    "label_batches": {"label": "customer", "window_seconds": 50},
    "longest_jobs": {"each": 1},
    "time_in_workflow": {"workflow_id": ORDER},
    "workflow": {"workflow_id": ORDER},
    "workflow_attempts": {"workflow_id": ORDER},
    "workflow_ids": {"prefix": "a"},
    "workflow_jobs": {"workflow_id": ORDER},
    "workflows_per_day": {"days": 1},
}

# What a database without a span says; the others say nothing.
EMPTY: dict[str, list[tuple[Any, ...]]] = {
    "progress": [(0,) * 10],
    "spans_stored": [(0, datetime(1970, 1, 1, tzinfo=UTC), None)],
    "system_totals": [(None, None, 0, 0, 0, 0, 0, 0, None)],
}

EXPECTED: dict[str, list[tuple[Any, ...]]] = {
    # system, queue, arrivals_per_second, starts_per_second, load, waiting_before, waiting_now, growth, drained_in_seconds
    "back_pressure": [
        ("celery", "batch", 0.000833, 0.000556, 1.5, 0, 1, 1, None),
        ("celery", "mails", 0.000278, 0.000278, 1.0, 0, 0, 0, None),
        ("celery", "orders", 0.000556, 0.000556, 1.0, 0, 0, 0, None),
    ],
    # workflow_id, workflow_type, started_at, due_at, ended_at, complete, jobs, open_jobs, failed_jobs, wall_seconds, standing
    "batches": [
        (OPEN, "report", 120.0, 180.0, None, 0, 2, 2, 0, None, "overdue"),
        (REPORT, "report", 60.0, 120.0, 100.0, 1, 1, 0, 0, 40.0, "in time"),
        (ORDER, "order", 0.0, 60.0, 15.0, 1, 2, 0, 1, 15.0, "in time"),
    ],
    # job_id, system, queue, job_type, state, error_type, attempts, enqueued_at, ended_at, workflow_id, trace_id
    "dead_letters": [
        ("2", "celery", "mails", "mail", "failed", "Refused", 1, 3.0, 5.0, ORDER, ORDER),
    ],
    # time, spans, duplicate_spans, redelivered_attempts
    "duplicates": [
        (0.0, 10, 2, 1),
    ],
    # system, trigger, trigger_name, parent_type, job_type, dispatched, last_minute
    "edges": [
        ("celery", "schedule", "nightly", "", "report", 3, 120.0),
        ("celery", "job", "order", "order", "mail", 1, 0.0),
        ("celery", "request", "/checkout", "", "order", 1, 0.0),
    ],
    # system, queue, job_type, dispatched, dispatch_failed, started, succeeded, failed, retried, expired, cancelled, rejected, lost
    "exits": [
        ("celery", "batch", "report", 3, 1, 2, 1, 0, 0, 0, 0, 0, 0),
        ("celery", "mails", "mail", 1, 0, 1, 0, 1, 0, 0, 0, 0, 0),
        ("celery", "orders", "order", 1, 0, 2, 1, 0, 1, 0, 0, 0, 0),
    ],
    # system, queue, job_type, state, error_type, jobs, dead_letters, last_at, example_job_id
    "failures": [
        ("celery", "mails", "mail", "failed", "Refused", 1, 1, 5.0, "2"),
    ],
    # system, job_type, jobs, dispatched_jobs, dispatched_avg, dispatched_max, example_job_id
    "fan_out": [
        ("celery", "order", 1, 1, 1.0, 1, "1"),
    ],
    # all columns of the view
    "job": [
        (
            "celery",
            "orders",
            "order",
            "1",
            ORDER,
            ORDER,
            "order",
            "",
            "",
            "request",
            "/checkout",
            0.0,
            0.0,
            2.0,
            15.0,
            "succeeded",
            2,
            0.0,
            2.0,
            6.0,
            "",
            0,
            "w1",
            "shop",
            "1",
            "web",
            "",
            1,
            {},
            0,
            0.0,
            None,
            3,
        ),
    ],
    # all columns of the view
    "job_attempts": [
        (
            "celery",
            "orders",
            "order",
            "1",
            ORDER,
            1,
            0.0,
            0.0,
            None,
            2.0,
            5.0,
            None,
            2.0,
            3.0,
            "retry",
            "Timeout",
            0.0,
            "",
            "w1",
            "box",
            "shop",
            "1",
            ORDER,
            "0000000000000004",
            "",
            None,
            3,
            0,
            1,
            0,
            "orders",
            0,
            "order",
            "request",
            "/checkout",
            "",
            "web",
        ),
        (
            "celery",
            "orders",
            "order",
            "1",
            ORDER,
            2,
            5.0,
            11.0,
            None,
            12.0,
            15.0,
            None,
            1.0,
            3.0,
            "success",
            "",
            0.0,
            "",
            "w1",
            "box",
            "shop",
            "1",
            ORDER,
            "0000000000000005",
            "",
            11.0,
            3,
            0,
            0,
            0,
            "orders",
            0,
            "order",
            "request",
            "/checkout",
            "",
            "web",
        ),
    ],
    # job_id, system, queue, job_type, state, attempts, enqueued_at, queue_seconds, run_seconds, error_type, parent_type
    "job_children": [
        ("2", "celery", "mails", "mail", "failed", 1, 3.0, None, 1.0, "Refused", "order"),
    ],
    # job_id
    "job_ids": [
        ("r1",),
    ],
    # all columns of the view
    "job_root": [
        (0, "2", "celery", "mails", "mail", "failed", "1", "order", "job", "order", 3.0, 4.0, 5.0, None, 1.0, ORDER),
        (
            1,
            "1",
            "celery",
            "orders",
            "order",
            "succeeded",
            "",
            "",
            "request",
            "/checkout",
            0.0,
            2.0,
            15.0,
            2.0,
            6.0,
            ORDER,
        ),
    ],
    # job_id, system, queue, job_type, state, attempts, enqueued_at, delay_seconds, queue_seconds, run_seconds, error_type, worker, workflow_id, trace_id
    "jobs": [
        ("x1", "celery", "batch", "report", "running", 1, 125.0, 0.0, 5.0, None, "", "w1", OPEN, OPEN),
        ("w1", "celery", "batch", "report", "waiting", 0, 120.0, 0.0, None, None, "", "", OPEN, OPEN),
        ("r1", "celery", "batch", "report", "succeeded", 1, 60.0, 0.0, 10.0, 30.0, "", "w1", REPORT, REPORT),
        ("2", "celery", "mails", "mail", "failed", 1, 3.0, None, None, 1.0, "Refused", "w1", ORDER, ORDER),
        ("1", "celery", "orders", "order", "succeeded", 2, 0.0, 0.0, 2.0, 6.0, "", "w1", ORDER, ORDER),
    ],
    # batch, first_at, due_at, ended_at, jobs, open_jobs, failed_jobs, standing
    "label_batches": [
        ("acme", 3.0, 53.0, None, 4, 2, 1, "overdue"),
    ],
    # system, job_type, last_started_at, last_trigger, last_trigger_name, last_succeeded_at, last_failed_at, first_started_at, usual_interval_seconds, silent_seconds
    "last_runs": [
        ("celery", "report", 130.0, "schedule", "nightly", 100.0, None, 70.0, 60.0, Elapsed(130)),
        ("celery", "order", 12.0, "request", "/checkout", 15.0, None, 2.0, 10.0, Elapsed(12)),
        ("celery", "mail", 4.0, "job", "order", None, 5.0, 4.0, None, Elapsed(4)),
    ],
    # system, job_type, job_id, queue, state, attempts, enqueued_at, queue_seconds, run_seconds, workflow_id
    "longest_jobs": [
        ("celery", "mail", "2", "mails", "failed", 1, 3.0, None, 1.0, ORDER),
        ("celery", "order", "1", "orders", "succeeded", 2, 0.0, 2.0, 6.0, ORDER),
        ("celery", "report", "r1", "batch", "succeeded", 1, 60.0, 10.0, 30.0, REPORT),
    ],
    # system, queue, job_type, state, jobs, overtaken, oldest_at, oldest_job_id
    "open_jobs": [
        ("celery", "batch", "report", "running", 1, 0, 125.0, "x1"),
        ("celery", "batch", "report", "waiting", 1, 0, 120.0, "w1"),
    ],
    # producer, system, queue, job_type, jobs, jobs_before, is_new, first_at, example_trigger_name
    "producers": [
        ("beat", "celery", "batch", "report", 3, 0, 1, 60.0, "nightly"),
        ("shop", "celery", "mails", "mail", 1, 0, 1, 3.0, "order"),
        ("web", "celery", "orders", "order", 1, 0, 1, 0.0, "/checkout"),
    ],
    # jobs, open_jobs, succeeded, failed, cancelled, dead_letters, retried, attempts, scheduled, delayed
    "progress": [
        (5, 2, 2, 1, 0, 1, 1, 5, 3, 0),
    ],
    # system, queue, starts, queue_avg_seconds, queue_total_seconds, queue_p50_seconds, queue_p90_seconds, queue_p95_seconds, queue_p99_seconds
    "queue_times": [
        ("celery", "batch", 2, 7.5, 15.0, 5.0, 10.0, 10.0, 10.0),
        ("celery", "orders", 2, 1.5, 3.0, 1.0, 2.0, 2.0, 2.0),
    ],
    # system, queue, waiting, overtaken, running, jobs, starts, failed, queue_p50_seconds, queue_p95_seconds
    "queues": [
        ("celery", "batch", 1, 0, 1, 3, 2, 0, 7.5, 9.75),
        ("celery", "mails", 0, 0, 0, 1, 1, 1, None, None),
        ("celery", "orders", 0, 0, 0, 1, 2, 0, 2.0, 2.0),
    ],
    # system, job_type, service, release, started, failed, retried, trouble_ratio, run_avg_seconds, run_p50_seconds, run_p95_seconds, cpu_avg_seconds, first_started_at, last_started_at
    "releases": [
        ("celery", "mail", "shop", "1", 1, 1, 0, 1.0, 1.0, 1.0, 1.0, None, 4.0, 4.0),
        ("celery", "order", "shop", "1", 2, 0, 1, 0.5, 3.0, 3.0, 3.0, None, 2.0, 12.0),
        ("celery", "report", "nights", "2", 1, 0, 0, None, None, None, None, None, 130.0, 130.0),
        ("celery", "report", "shop", "2", 1, 0, 0, 0.0, 30.0, 30.0, 30.0, None, 70.0, 70.0),
    ],
    # job_id, system, queue, job_type, state, attempts, max_attempts, error_type, enqueued_at, ended_at, run_seconds, workflow_id
    "retried_jobs": [
        ("1", "celery", "orders", "order", "succeeded", 2, 3, "", 0.0, 15.0, 6.0, ORDER),
    ],
    # system, queue, job_type, jobs, retried_jobs, retried_ratio, most_attempts, example_job_id
    "retries": [
        ("celery", "orders", "order", 1, 1, 1.0, 2, "1"),
    ],
    # system, job_type, runs, run_avg_seconds, run_total_seconds, run_p50_seconds, run_p90_seconds, run_p95_seconds, run_p99_seconds
    "runtimes": [
        ("celery", "report", 1, 30.0, 30.0, 30.0, 30.0, 30.0, 30.0),
        ("celery", "order", 2, 3.0, 6.0, 3.0, 3.0, 3.0, 3.0),
        ("celery", "mail", 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    ],
    # job_id, system, queue, job_type, state, attempts, enqueued_at, queue_seconds, run_seconds, trace_id
    "slowest_jobs": [
        ("r1", "celery", "batch", "report", "succeeded", 1, 60.0, 10.0, 30.0, REPORT),
        ("1", "celery", "orders", "order", "succeeded", 2, 0.0, 2.0, 6.0, ORDER),
        ("2", "celery", "mails", "mail", "failed", 1, 3.0, None, 1.0, ORDER),
        ("w1", "celery", "batch", "report", "waiting", 0, 120.0, None, None, OPEN),
        ("x1", "celery", "batch", "report", "running", 1, 125.0, 5.0, None, OPEN),
    ],
    # workflow_id, workflow_type, started_at, wall_seconds, jobs, failed_jobs, attempts, queue_seconds, run_seconds
    "slowest_workflows": [
        (REPORT, "report", 60.0, 40.0, 1, 0, 1, 10.0, 30.0),
        (ORDER, "order", 0.0, 15.0, 2, 1, 3, 2.0, 7.0),
    ],
    # trigger, trigger_name, job_type, jobs, jobs_before, is_new
    "sources": [
        ("schedule", "nightly", "report", 3, 0, 1),
        ("job", "order", "mail", 1, 0, 1),
        ("request", "/checkout", "order", 1, 0, 1),
    ],
    # spans, newest_at, newest_age_seconds
    "spans_stored": [
        (12, 140.0, Elapsed(140)),
    ],
    # job_id, system, queue, job_type, attempt, running_since, running_seconds, usual_p99_seconds, worker, service, workflow_id
    "stuck_jobs": [
        ("x1", "celery", "batch", "report", 1, 130.0, Elapsed(131), 30.0, "w1", "nights", OPEN),
    ],
    # system, queue, job_type, succeeded, failed, cancelled, retried, ended, ended_per_second, success_ratio, failure_ratio
    "success_rates": [
        ("celery", "mails", "mail", 0, 1, 0, 0, 1, 1.2e-05, 0.0, 1.0),
        ("celery", "batch", "report", 1, 0, 0, 0, 1, 1.2e-05, 1.0, 0.0),
        ("celery", "orders", "order", 1, 0, 0, 1, 1, 1.2e-05, 1.0, 0.0),
    ],
    # run_total_seconds, queue_total_seconds, dispatched, started, succeeded, retried, failed, cancelled, busy_workers
    "system_totals": [
        (37.0, 18.0, 5, 5, 2, 1, 1, 0, 0.000428),
    ],
    # time, dispatched, started, succeeded, failed, retried, cancelled, ended_per_second, success_ratio, failure_ratio
    "throughput": [
        (-300.0, 0, 0, 0, 0, 0, 0, 0.0, None, None),
        (0.0, 5, 5, 2, 1, 1, 0, 0.01, 0.666667, 0.333333),
        (300.0, 0, 0, 0, 0, 0, 0, 0.0, None, None),
    ],
    # system, job_type, jobs, attempts, run_seconds, queue_seconds, run_share
    "time_in_workflow": [
        ("celery", "order", 1, 2, 6.0, 2.0, 0.857143),
        ("celery", "mail", 1, 1, 1.0, None, 0.142857),
    ],
    # workflow_type, system, job_type, jobs, workflows, run_seconds, run_seconds_per_workflow, queue_seconds, run_share
    "time_in_workflows": [
        ("order", "celery", "order", 1, 1, 6.0, 6.0, 2.0, 0.857143),
        ("order", "celery", "mail", 1, 1, 1.0, 1.0, None, 0.142857),
        ("report", "celery", "report", 3, 2, 30.0, 15.0, 15.0, 1.0),
    ],
    # system, job_type, attempts, succeeded, retried, failed, run_p50_seconds, run_p95_seconds, total_run_seconds
    "types": [
        ("celery", "report", 2, 1, 0, 0, 30.0, 30.0, 30.0),
        ("celery", "order", 2, 1, 1, 0, 3.0, 3.0, 6.0),
        ("celery", "mail", 1, 0, 0, 1, 1.0, 1.0, 1.0),
    ],
    # system, queue, job_type, waiting, overtaken, oldest_wait_seconds
    "waiting_now": [
        ("celery", "batch", "report", 1, 0, Elapsed(121)),
    ],
    # time, system, queue, waiting, oldest_wait_seconds
    "waiting_over_time": [
        (-300.0, "celery", "orders", 1, 0.0),
        (0.0, "celery", "batch", 1, 180.0),
        (300.0, "celery", "batch", 1, 480.0),
    ],
    # workflow_id, trace_id, workflow_type, trigger, trigger_name, started_at, ended_at, complete, jobs, open_jobs, failed_jobs, attempts, wall_seconds, queue_seconds, run_seconds
    "workflow": [
        (ORDER, ORDER, "order", "request", "/checkout", 0.0, 15.0, 1, 2, 0, 1, 3, 15.0, 2.0, 7.0),
    ],
    # job_id, system, queue, job_type, attempt, published_at, ready_at, started_at, ended_at, outcome, error_type
    "workflow_attempts": [
        ("1", "celery", "orders", "order", 1, 0.0, 0.0, 2.0, 5.0, "retry", "Timeout"),
        ("1", "celery", "orders", "order", 2, 5.0, 11.0, 12.0, 15.0, "success", ""),
        ("2", "celery", "mails", "mail", 1, None, None, 4.0, 5.0, "failure", "Refused"),
    ],
    # workflow_id
    "workflow_ids": [
        (ORDER,),
    ],
    # all columns of the view
    "workflow_jobs": [
        ("1", "", "", "celery", "orders", "order", "succeeded", 2, 0.0, 0.0, 2.0, 15.0, 0.0, 2.0, 6.0, "", "w1"),
        (
            "2",
            "1",
            "order",
            "celery",
            "mails",
            "mail",
            "failed",
            1,
            3.0,
            None,
            4.0,
            5.0,
            None,
            None,
            1.0,
            "Refused",
            "w1",
        ),
    ],
    # workflow_type, completed, with_failures, wall_avg_seconds, wall_p50_seconds, wall_p90_seconds, wall_p95_seconds, wall_p99_seconds, jobs_avg
    "workflow_times": [
        ("order", 1, 1, 15.0, 15.0, 15.0, 15.0, 15.0, 2.0),
        ("report", 1, 0, 40.0, 40.0, 40.0, 40.0, 40.0, 1.0),
    ],
    # workflow_id, workflow_type, trigger, trigger_name, started_at, ended_at, complete, jobs, open_jobs, failed_jobs, attempts, wall_seconds, queue_seconds, run_seconds
    "workflows": [
        (OPEN, "report", "schedule", "nightly", 120.0, None, 0, 2, 2, 0, 1, None, 5.0, None),
        (REPORT, "report", "schedule", "nightly", 60.0, 100.0, 1, 1, 0, 0, 1, 40.0, 10.0, 30.0),
        (ORDER, "order", "request", "/checkout", 0.0, 15.0, 1, 2, 0, 1, 3, 15.0, 2.0, 7.0),
    ],
    # day, workflow_type, completed, with_failures, jobs, wall_avg_seconds
    "workflows_per_day": [
        (Day(15), "order", 1, 1, 2, 15.0),
        (Day(15), "report", 1, 0, 1, 40.0),
    ],
}
