"""The alert rules, in the file format of Grafana's provisioning."""

from __future__ import annotations

from typing import Any, Final

from grafana import overview
from grafana.pieces import DATASOURCE_UID, PLUGIN, TABLE, Json
from grafana.sources import alert_sql

_EXPRESSION: Final = "__expr__"
_MINUTE_MS: Final = 60_000

FAILURE_WINDOW_SECONDS: Final = 900
SILENCE_WINDOW_SECONDS: Final = 900
IDLE_WINDOW_SECONDS: Final = 900


def _rows(sql_name: str, *, seconds: int) -> Json:
    """Return the query: one number for each row, over the last `seconds`."""
    return {
        "refId": "A",
        "datasourceUid": DATASOURCE_UID,
        "relativeTimeRange": {"from": seconds, "to": 0},
        "model": {
            "refId": "A",
            "datasource": {"type": PLUGIN, "uid": DATASOURCE_UID},
            "editorType": "sql",
            "queryType": "table",
            "format": TABLE,
            "intervalMs": _MINUTE_MS,
            "maxDataPoints": 43200,
            "rawSql": alert_sql(sql_name),
        },
    }


def _threshold(kind: str, limit: float, recovery: tuple[str, float] | None = None) -> Json:
    """Return the condition on the numbers of A; `recovery` is where an alert that fires ends."""
    condition: Json = {"type": "query", "evaluator": {"type": kind, "params": [limit]}}
    if recovery:
        condition["unloadEvaluator"] = {"type": recovery[0], "params": [recovery[1]]}
    return {
        "refId": "C",
        "datasourceUid": _EXPRESSION,
        "model": {
            "refId": "C",
            "type": "threshold",
            "datasource": {"type": _EXPRESSION, "uid": _EXPRESSION},
            "expression": "A",
            "conditions": [condition],
        },
    }


def _rule(uid: str, title: str, data: list[Json], *, panel: int, **more: Any) -> Json:
    return {
        "uid": uid,
        "title": title,
        "condition": "C",
        "data": data,
        "dashboardUid": overview.UID,
        "panelId": panel,
        "for": "5m",
        **more,
    }


_FAILURE_RUNBOOK = """\
More than 5 % of the attempts that ended in the last 15 minutes failed, expired, were rejected or lost (at least ten \
ended). It ends below 2 %. Attempts that will be retried do not count.
1. Open the Overview with this queue and job type: the table Failures names the reasons, each with a trace.
2. One error type only: look at the newest example's trace, and at what was released last (column release of the view \
`attempts`).
3. State lost: workers were killed. Look at memory and at the time limits.
4. State expired: jobs waited too long. Look at Queueing time and at the number of workers.
"""
_SILENCE_RUNBOOK = """\
No span of any service was stored in the last 15 minutes, by the clock of the database, or the database gave no answer. \
Signs of life of long runs are spans, too: jobs that run for hours keep it quiet.
1. Is work expected at this hour? If not, pause the rule for that time, or let a schedule dispatch a job that does \
nothing every five minutes.
2. The collector: its health check on port 13133; in its metrics `otelcol_exporter_queue_size` and \
`otelcol_exporter_send_failed_spans_total`.
3. ClickHouse: is its disk full, does it refuse inserts? Its log says so.
4. The services: do they run under `opentelemetry-instrument`, and does their log warn of failed exports?
"""
_IDLE_RUNBOOK = """\
Jobs of this queue have been ready for 15 minutes, and nothing of it started in that time: no worker takes them.
1. Do the workers of this queue run, and are they connected to the broker? Start them.
2. They run: is every one of them busy with a job that does not end? `otjobs sql --named stuck_jobs`
3. Was the queue renamed or purged? Its jobs then wait here until they are forgotten.
"""
_OVERTAKEN_RUNBOOK = """\
Jobs of this queue have been ready for an hour, and each job that the queue started in the last hour was ready later.
1. Are they in the broker still? If not, they were purged or dropped, or a worker ran them and died before it could tell.
2. They are: something goes before them, such as priorities, or a worker that holds them as prefetched and does not run them.
3. `otjobs sql --named waiting_now` counts them by queue and type; the view `open_jobs` names each.
"""


def rules() -> Json:
    """Return the content of the provisioning file."""
    return {
        "apiVersion": 1,
        "groups": [
            {
                "orgId": 1,
                "name": "otjobs",
                "folder": "otjobs",
                "interval": "1m",
                "rules": [
                    _rule(
                        "otjobs-failure-ratio",
                        "Jobs fail",
                        [
                            _rows("alert_failure_ratio", seconds=FAILURE_WINDOW_SECONDS),
                            _threshold("gt", 0.05, recovery=("lt", 0.02)),
                        ],
                        panel=overview.FAILURE_RATIO,
                        # No row means that fewer than ten attempts ended: nothing to tell.
                        noDataState="OK",
                        execErrState="Error",
                        annotations={
                            "summary": "{{ humanizePercentage $values.A.Value }} of {{ $labels.job_type }} on queue "
                            "{{ $labels.queue }} ({{ $labels.system }}) ended badly",
                            "description": _FAILURE_RUNBOOK,
                        },
                        labels={"severity": "warning", "component": "otjobs"},
                    ),
                    _rule(
                        "otjobs-silence",
                        "Nothing arrives",
                        [_rows("alert_silence", seconds=SILENCE_WINDOW_SECONDS), _threshold("lt", 1)],
                        panel=overview.SILENCE,
                        # A heartbeat: no answer is as bad as no span.
                        noDataState="Alerting",
                        execErrState="Alerting",
                        annotations={
                            "summary": "No span was stored for 15 minutes",
                            "description": _SILENCE_RUNBOOK,
                        },
                        labels={"severity": "critical", "component": "otjobs"},
                    ),
                    _rule(
                        "otjobs-nothing-starts",
                        "Nothing starts",
                        [_rows("alert_nothing_starts", seconds=IDLE_WINDOW_SECONDS), _threshold("gt", 0)],
                        panel=overview.WAITING,
                        # No row means that no queue is like that.
                        noDataState="OK",
                        execErrState="Error",
                        annotations={
                            "summary": "{{ humanize $values.A.Value }} jobs wait on queue {{ $labels.queue }} "
                            "({{ $labels.system }}) and nothing starts",
                            "description": _IDLE_RUNBOOK,
                        },
                        labels={"severity": "critical", "component": "otjobs"},
                    ),
                    _rule(
                        "otjobs-overtaken",
                        "Jobs are overtaken",
                        [_rows("alert_overtaken", seconds=IDLE_WINDOW_SECONDS), _threshold("gt", 0)],
                        panel=overview.OVERTAKEN,
                        noDataState="OK",
                        execErrState="Error",
                        annotations={
                            "summary": "{{ humanize $values.A.Value }} of {{ $labels.job_type }} on queue "
                            "{{ $labels.queue }} ({{ $labels.system }}) wait while later jobs start",
                            "description": _OVERTAKEN_RUNBOOK,
                        },
                        labels={"severity": "warning", "component": "otjobs"},
                    ),
                ],
            }
        ],
    }
