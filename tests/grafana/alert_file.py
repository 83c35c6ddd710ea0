"""The rules of Grafana's alert provisioning files (13.2), as `problems(content)`: what Grafana would refuse or misread.

Grafana stops at its start when such a file is wrong, and no checker of its own exists outside of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = {
    "apiVersion",
    "groups",
    "deleteRules",
    "contactPoints",
    "deleteContactPoints",
    "policies",
    "resetPolicies",
    "muteTimes",
    "deleteMuteTimes",
    "templates",
    "deleteTemplates",
}
GROUP = {"orgId", "name", "folder", "interval", "rules"}
RULE = {
    "uid",
    "title",
    "condition",
    "data",
    "dashboardUid",
    "panelId",
    "noDataState",
    "execErrState",
    "for",
    "keepFiringFor",
    "missing_series_evals_to_resolve",
    "annotations",
    "labels",
    "isPaused",
    "notification_settings",
    "record",
}
QUERY = {"refId", "queryType", "relativeTimeRange", "datasourceUid", "model"}
NO_DATA = {"NoData", "Alerting", "OK", "KeepLast"}
EXEC_ERROR = {"Alerting", "Error", "OK", "KeepLast"}
EVALUATORS = {"gt", "lt", "eq", "ne", "gte", "lte"}
RANGES = {"within_range", "outside_range", "within_range_included", "outside_range_included"}
REDUCERS = {"sum", "mean", "min", "max", "count", "last", "median"}
EXPRESSIONS = {"math", "reduce", "resample", "threshold", "sql", "classic_conditions"}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(text: object) -> int | None:
    """Return a duration such as 1m30s in seconds, or None."""
    parts = re.findall(r"(\d+)([smhdw])", str(text))
    if not parts or "".join(number + unit for number, unit in parts) != str(text):
        return None
    return sum(int(number) * UNITS[unit] for number, unit in parts)


def problems(content: dict[str, Any]) -> list[str]:
    """Return what is wrong with a file's content, as texts."""
    found = [f"unknown key {key}" for key in content.keys() - TOP]
    if content.get("apiVersion") != 1:
        found.append("apiVersion is not 1")
    if "policies" in content:
        found.append("policies replace the organisation's whole tree")
    uids = []
    for group in content.get("groups", []):
        where = f"group {group.get('name')}"
        found += [f"{where}: unknown key {key}" for key in group.keys() - GROUP]
        found += [f"{where}: no {key}" for key in ("name", "folder", "interval", "rules") if not group.get(key)]
        interval = seconds(group.get("interval"))
        if not interval or interval % 10:
            found.append(f"{where}: interval is no multiple of 10 s")
        for rule in group.get("rules") or []:
            found += [f"{where}: rule {rule.get('uid')}: {text}" for text in _rule(rule, interval or 0)]
            uids.append(rule.get("uid"))
    found += [f"uid {uid} is used twice" for uid in {uid for uid in uids if uids.count(uid) > 1}]
    return sorted(found)


def _rule(rule: dict[str, Any], interval: int) -> Iterator[str]:
    yield from (f"unknown key {key}" for key in rule.keys() - RULE)
    yield from (f"no {key}" for key in ("uid", "title", "condition", "data") if not rule.get(key))
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", str(rule.get("uid"))):
        yield "uid is not 1 to 40 letters, digits, - and _"
    if len(str(rule.get("title"))) > 190:
        yield "title is longer than 190"
    if rule.get("noDataState", "NoData") not in NO_DATA:
        yield f"noDataState {rule['noDataState']}"
    if rule.get("execErrState", "Alerting") not in EXEC_ERROR:
        yield f"execErrState {rule['execErrState']}"
    if ("dashboardUid" in rule) != ("panelId" in rule):
        yield "dashboardUid and panelId go together"
    if not isinstance(rule.get("panelId", 1), int):
        yield "panelId is no integer"
    pause = seconds(rule.get("for", "0s"))
    if pause is None or (interval and pause % interval):
        yield "for is no multiple of the group's interval"
    for kind in ("annotations", "labels"):
        yield from (
            f"{kind}.{key} is no text" for key, text in (rule.get(kind) or {}).items() if not isinstance(text, str)
        )
    # These are expanded from Grafana's environment, where `$x` becomes nothing.
    for key, text in {"title": rule.get("title"), "uid": rule.get("uid"), **(rule.get("labels") or {})}.items():
        if re.search(r"(?<!\$)\$(?!\$)", str(text)):
            yield f"{key} has a $ that is expanded from the environment; write $$"
    for key, text in (rule.get("annotations") or {}).items():
        if "${" in text:
            yield f"annotation {key} has ${{...}}, which is expanded from the environment"
    yield from _data(rule)


def _data(rule: dict[str, Any]) -> Iterator[str]:
    names = [query.get("refId") for query in rule.get("data") or []]
    if rule.get("condition") not in names:
        yield f"condition {rule.get('condition')} is no refId of data"
    yield from (f"refId {name} is used twice" for name in {n for n in names if names.count(n) > 1})
    for query in rule.get("data") or []:
        name, model = query.get("refId"), query.get("model") or {}
        yield from (f"{name}: unknown key {key}" for key in query.keys() - QUERY)
        if not name or not query.get("datasourceUid") or not model:
            yield f"{name}: no refId, datasourceUid or model"
        if model.get("refId") != name:
            yield f"{name}: model.refId is {model.get('refId')}"
        if query.get("datasourceUid") == "__expr__":
            yield from (f"{name}: {text}" for text in _expression(model, names))
            continue
        window = query.get("relativeTimeRange") or {}
        start, end = window.get("from"), window.get("to", 0)
        if type(start) is not int or type(end) is not int or start <= end:
            yield f"{name}: relativeTimeRange is not from > to in whole seconds"
        if model.get("format") not in (0, 1):
            yield f"{name}: format {model.get('format')} gives no number or series"
        if model.get("intervalMs", 1000) < 10_000:
            yield f"{name}: intervalMs defaults to buckets of a second"
        if (model.get("datasource") or {}).get("uid") != query.get("datasourceUid"):
            yield f"{name}: model.datasource differs from datasourceUid"


def _expression(model: dict[str, Any], names: list[Any]) -> Iterator[str]:
    kind = model.get("type")
    if kind not in EXPRESSIONS:
        yield f"unknown expression {kind}"
    if kind in ("threshold", "reduce") and model.get("expression") not in names:
        yield f"expression {model.get('expression')} is no refId"
    if kind == "reduce" and model.get("reducer") not in REDUCERS:
        yield f"reducer {model.get('reducer')}"
    if kind == "threshold":
        if len(model.get("conditions") or []) != 1:
            yield "a threshold has one condition"
        for condition in model.get("conditions") or []:
            for key in ("evaluator", "unloadEvaluator"):
                evaluator = condition.get(key)
                if evaluator is None and key == "unloadEvaluator":
                    continue
                wanted = 1 if (evaluator or {}).get("type") in EVALUATORS else 2
                if (evaluator or {}).get("type") not in EVALUATORS | RANGES or len(
                    evaluator.get("params", [])
                ) != wanted:
                    yield f"{key} {evaluator}"
