"""Run what dashboards and alert rules ask, as Grafana would, on a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from macros import Range, Variables, expand, expand_alert

if TYPE_CHECKING:
    from datetime import datetime

    from otjobs.backend.store import Store

ROOT = Path(__file__).resolve().parent.parent.parent
GRAFANA = ROOT / "grafana"
OVERVIEW, TRACE = "otjobs-overview", "otjobs-trace"


def dashboards() -> dict[str, Any]:
    """Return every rendered dashboard by its uid."""
    found = [json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))]
    return {dashboard["uid"]: dashboard for dashboard in found}


def panels(dashboard: str) -> dict[str, Any]:
    """Return the panels that ask something, by title."""
    found = dashboards()[dashboard]["panels"]
    return {panel["title"]: panel for panel in found if panel.get("targets")}


def alert_rules() -> dict[str, Any]:
    """Return every rendered alert rule by its uid."""
    found: dict[str, Any] = {}
    for path in sorted((GRAFANA / "provisioning" / "alerting").iterdir()):
        for group in yaml.safe_load(path.read_text()).get("groups", []):
            found |= {rule["uid"]: rule for rule in group["rules"]}
    return found


def chosen(dashboard: str, variables: Variables | None = None) -> dict[str, Any]:
    """Return the values of a dashboard's variables: the given ones, else those it opens with."""
    found = {v["name"]: v["current"]["value"] for v in dashboards()[dashboard]["templating"]["list"]}
    unknown = set(variables or {}) - set(found)
    assert not unknown, f"{dashboard} has no variable {unknown}"
    return {**found, **(variables or {})}


def panel_sql(
    dashboard: str,
    title: str,
    start: datetime,
    end: datetime,
    variables: Variables | None = None,
    *,
    interval_seconds: int = 60,
) -> str:
    """Return the SQL that ClickHouse gets from a panel."""
    (target,) = panels(dashboard)[title]["targets"]
    return expand(target["rawSql"], _range(start, end, interval_seconds), chosen(dashboard, variables))


def run_panel(
    store: Store,
    dashboard: str,
    title: str,
    start: datetime,
    end: datetime,
    variables: Variables | None = None,
    *,
    interval_seconds: int = 60,
) -> list[dict[str, Any]]:
    """Return the rows of a panel as dicts.

    `start` and `end` are datetimes, cut to milliseconds; both ends belong to the range.
    `variables` has a str or a list of str by name, `["$__all"]` for all; what is left out is as the dashboard opens.
    """
    return store.query(panel_sql(dashboard, title, start, end, variables, interval_seconds=interval_seconds)).dicts()


def run_variable(
    store: Store, dashboard: str, name: str, start: datetime, end: datetime, variables: Variables | None = None
) -> list[Any]:
    """Return the choices of a variable."""
    (found,) = [v for v in dashboards()[dashboard]["templating"]["list"] if v["name"] == name]
    sql = expand(found["query"]["rawSql"], _range(start, end), chosen(dashboard, variables))
    return [row[0] for row in store.query(sql).rows]


def alert_sql(uid: str, at: datetime) -> str:
    """Return the SQL that ClickHouse gets from an alert rule that is evaluated at a datetime."""
    query = alert_rules()[uid]["data"][0]
    window, model = query["relativeTimeRange"], query["model"]
    now = _ms(at)
    found = Range(now - window["from"] * 1000, now - window["to"] * 1000, model["intervalMs"])
    return expand_alert(model["rawSql"], found)


def firing(store: Store, uid: str, at: datetime) -> list[tuple[Any, ...]]:
    """Return the labels of the instances of a rule that are above or below its threshold: a list of tuples."""
    answer = store.query(alert_sql(uid, at))
    condition = alert_rules()[uid]["data"][1]["model"]["conditions"][0]["evaluator"]
    beyond = {"gt": float.__gt__, "lt": float.__lt__}[condition["type"]]
    return [tuple(row[:-1]) for row in answer.rows if beyond(float(row[-1]), float(condition["params"][0]))]


def types(store: Store, sql: str) -> dict[str, str]:
    """Return the names and ClickHouse types of a query's columns, in order."""
    return {row[0]: row[1] for row in store.query(f"DESCRIBE TABLE ({sql})").rows}


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _range(start: datetime, end: datetime, interval_seconds: int = 60) -> Range:
    return Range(_ms(start), _ms(end), interval_seconds * 1000)
