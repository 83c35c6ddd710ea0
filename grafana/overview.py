"""The Overview dashboard: what happens to jobs, how long they wait and run, which are slow or fail."""

from __future__ import annotations

from typing import Final

from grafana import pieces as p
from grafana import trace

UID: Final = "otjobs-overview"
# Panels that alerts point to.
WAITING, FAILURE_RATIO, SILENCE, OVERTAKEN = 1, 5, 6, 16

_RECENT = "Not counted: jobs dispatched more than the chosen days before the time range."
_TRACE_LINK: Final = {
    "displayName": "trace",
    "links": [
        {
            "title": "Show the trace",
            "url": f"/d/{trace.UID}?var-trace_id=${{__value.raw}}&var-datasource=${{datasource}}&${{__url_time_range}}",
        }
    ],
}


def _now() -> list[p.Json]:
    return [
        p.stat(
            WAITING,
            "Waiting now",
            (0, 0, 4, 4),
            sql="waiting_now",
            unit="short",
            thresholds=p.steps((None, p.BLUE)),
            says="Jobs that could start now and have not, whatever their age and the time range; retries whose time has "
            "come are among them. Delayed jobs and retries that sit out their backoff are not counted, nor are jobs whose "
            "dispatch has not arrived, and retries of which nobody knows when they are due. A job that was killed in its "
            f"first second, with nobody to report it, still counts. {p.LATE}",
        ),
        p.stat(
            OVERTAKEN,
            "Overtaken",
            (4, 0, 3, 4),
            sql="overtaken",
            unit="short",
            thresholds=p.steps((None, p.GREEN), (1, p.YELLOW)),
            says="Jobs among those that wait now, which have been ready for an hour while their queue started others in "
            "the last hour, all of them ready later: starved, gone from the broker, or run by a worker whose spans died "
            "with it. Yellow from 1. Not counted: jobs of a queue in which nothing started, which wait because no worker "
            f"takes them. {p.LATE}",
        ),
        p.stat(
            2,
            "Oldest wait",
            (7, 0, 4, 4),
            sql="oldest_wait",
            unit="s",
            thresholds=p.steps((None, p.GREEN), (30, p.YELLOW), (300, p.RED)),
            says="How long the longest waiting job could have started already, a retry from the time it was due. Yellow from "
            "30 s, red from 5 min. Not counted: what Waiting now does not count. Jobs that were overtaken are in it. "
            f"{p.LATE}",
        ),
        p.stat(
            3,
            "Running now",
            (11, 0, 3, 4),
            sql="running_now",
            unit="short",
            thresholds=p.steps((None, p.BLUE)),
            says="Jobs that a worker has begun and not ended, whatever their age. Not counted: runs in their first second, "
            "before which no sign of life is sent. An attempt that was killed counts until three signs of life are missing. "
            f"{p.LATE}",
        ),
        p.stat(
            4,
            "Open workflows",
            (14, 0, 3, 4),
            sql="open_workflows",
            unit="short",
            thresholds=p.steps((None, p.BLUE)),
            says="Workflows with a job that has not ended, or of which a job is known but not seen. The choice of system, "
            "queue and job type does not apply: a workflow crosses queues. Not counted: workflows begun more than the "
            f"chosen days before the time range. {p.LATE}",
        ),
        p.stat(
            FAILURE_RATIO,
            "Failure ratio",
            (17, 0, 3, 4),
            sql="failure_ratio",
            unit="percentunit",
            thresholds=p.steps((None, p.GREEN), (0.01, p.YELLOW), (0.05, p.RED)),
            says="Failed, expired, rejected and lost attempts, as a part of all attempts that ended in the time range. "
            "Yellow from 1 %, red from 5 %. Attempts that will be retried are in neither number. An attempt that was "
            f"lost counts, even where the broker delivered the job again. {_RECENT} {p.LATE}",
        ),
        p.stat(
            SILENCE,
            "Silent for",
            (20, 0, 4, 4),
            sql="silence",
            unit="s",
            thresholds=p.steps((None, p.GREEN), (300, p.YELLOW), (900, p.RED)),
            none=("no events", p.RED),
            says="Time since the newest dispatch, start or end of a job inside the time range. Yellow from 5 min, red "
            "from 15 min: nothing was dispatched, or nothing arrives. It goes on growing while services are idle, and "
            "shows a red `no events` where the range has none at all. Not counted: signs of life of runs that go on. "
            f"{_RECENT} {p.LATE}",
        ),
    ]


def _rates() -> list[p.Json]:
    return [
        p.row(7, "What happens", 4),
        p.over_time(
            8,
            "Jobs over time",
            (0, 5, 14, 9),
            sql="jobs_over_time",
            unit="short",
            says="Events of each interval, each at its own time: jobs dispatched; attempts started; attempts ended, by "
            "outcome. A job with a retry is dispatched once and started twice. Not counted as dispatched: jobs of "
            "producers that are not traced, and publishes that failed. The first and the last interval are cut by the "
            f"time range. {_RECENT} {p.LATE}",
            colors={
                "dispatched": p.BLUE,
                "succeeded": p.GREEN,
                "failed": p.RED,
                "retried": p.YELLOW,
                "lost": "dark-red",
            },
        ),
        p.over_time(
            9,
            "Failures over time",
            (14, 5, 10, 9),
            sql="failures_over_time",
            unit="short",
            says="Attempts that failed, expired, were rejected or lost, by job type, at the time of their end; the types "
            "below the ten with most failures are one series. Attempts that will be retried are not counted. "
            f"{_RECENT} {p.LATE}",
            bars=True,
        ),
    ]


def _durations() -> list[p.Json]:
    return [
        p.row(10, "How long it takes", 14),
        p.over_time(
            11,
            "Queueing time",
            (0, 15, 12, 9),
            sql="wait_quantiles",
            unit="s",
            says="From ready to start, of the attempts that started in each interval; exact quantiles. Delays that were "
            "asked for (countdown, ETA, backoff) are not queueing time. Not counted: attempts with an unknown publish "
            f"time (producer not traced, redelivered message) and jobs that still wait. {_RECENT} {p.LATE}",
        ),
        p.over_time(
            12,
            "Runtime",
            (12, 15, 12, 9),
            sql="run_quantiles",
            unit="s",
            says="From start to end, of the attempts that ended in each interval; exact quantiles. A lost attempt counts "
            "with the time to its last sign of life. Not counted: attempts that still run. "
            f"{_RECENT} {p.LATE}",
        ),
    ]


def _tables() -> list[p.Json]:
    return [
        p.row(13, "Which ones", 24),
        p.table(
            14,
            "Slowest jobs",
            (0, 25, 24, 9),
            sql="slowest_jobs",
            says="The 20 jobs dispatched in the time range that ran longest, all their attempts together. Not counted: "
            f"jobs that have not ended an attempt. {p.LATE}",
            fields={
                "queue_seconds": {"unit": "s", "displayName": "waited"},
                "run_seconds": {"unit": "s", "displayName": "ran"},
                "trace": _TRACE_LINK,
            },
        ),
        p.table(
            15,
            "Failures",
            (0, 34, 24, 9),
            sql="failures",
            says="Jobs that ended in the time range as failed, expired, rejected or lost, by reason, with the newest "
            "example of each; at most 100 reasons. Jobs that failed and were retried with success are not counted, nor "
            f"are cancelled ones. {_RECENT} {p.LATE}",
            fields={"dead_letters": {"displayName": "dead letters"}, "trace": _TRACE_LINK},
        ),
    ]


def overview() -> p.Json:
    """Return the dashboard."""
    return p.dashboard(
        UID,
        "otjobs Overview",
        "Jobs of all queues: arrivals, starts, ends and failures; how long they wait and run; the slowest and the failed.",
        [*_now(), *_rates(), *_durations(), *_tables()],
        [
            p.datasource_variable(),
            p.choice("system", "System", "systems"),
            p.choice("queue", "Queue", "queues"),
            p.choice("job_type", "Job type", "job_types"),
            p.days(
                "lookback",
                "Days before",
                (1, 7, 30, 90, 400),
                7,
                "Jobs dispatched up to this many days before the time range are read too: for what waits, starts or ends "
                "later. More days read more data.",
            ),
        ],
        since="now-1h",
        refresh="1m",
    )
