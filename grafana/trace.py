"""The Trace dashboard: one trace as a waterfall, and the attempts of its workflow."""

from __future__ import annotations

from typing import Final

from grafana import pieces as p

UID: Final = "otjobs-trace"


def trace() -> p.Json:
    """Return the dashboard."""
    return p.dashboard(
        UID,
        "otjobs Trace",
        "One trace by its id: what dispatched what, how long each attempt ran, and what else the services recorded.",
        [
            p.panel(
                "traces",
                1,
                "Trace",
                (0, 0, 24, 18),
                sql="trace",
                form=p.TRACES,
                says="Every stored span of the trace, whatever the time range is. Attempts that wait or run have no span of "
                f"their own yet. {p.LATE}",
            ),
            p.table(
                2,
                "Attempts of the workflow",
                (0, 18, 24, 10),
                sql="trace_attempts",
                says="Attempts of the workflow that began in this trace, at most 1,000. Not counted: jobs that still wait, "
                f"and attempts of a trace that is not its workflow's first (propagation by links). {p.LATE}",
                fields={
                    "queue_seconds": {"unit": "s", "displayName": "waited"},
                    "run_seconds": {"unit": "s", "displayName": "ran"},
                },
            ),
        ],
        [p.datasource_variable(), p.text_box("trace_id", "Trace id")],
        since="now-1h",
    )
