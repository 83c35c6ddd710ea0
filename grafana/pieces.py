"""What dashboards are made of: panels, targets, variables, links, as the JSON that Grafana reads."""

from __future__ import annotations

from typing import Any, Final

from grafana.sources import panel_sql

Json = dict[str, Any]

PLUGIN: Final = "grafana-clickhouse-datasource"
PLUGIN_VERSION: Final = "4.20.0"
DATASOURCE_UID: Final = "otjobs-clickhouse"
FOLDER_UID: Final = "otjobs"
SCHEMA_VERSION: Final = 42
CHOSEN: Final = {"type": PLUGIN, "uid": "${datasource}"}
"""The data source that the dashboard's variable names."""

TIME_SERIES, TABLE, TRACES = 0, 1, 3
_QUERY_TYPES: Final = {TIME_SERIES: "timeseries", TABLE: "table", TRACES: "traces"}

GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "text"
LATE: Final = (
    "Late by up to about 10 s: spans leave a service every 5 s and are stored in batches; an end is known "
    "only once the attempt has ended."
)


def target(sql_name: str, *, form: int) -> Json:
    """Return a query of the ClickHouse plugin for a panel."""
    return {
        "refId": "A",
        "datasource": CHOSEN,
        "editorType": "sql",
        "queryType": _QUERY_TYPES[form],
        "format": form,
        "rawSql": panel_sql(sql_name),
        "pluginVersion": PLUGIN_VERSION,
        "meta": {"timezone": "UTC"},
    }


def steps(*pairs: tuple[float | None, str]) -> Json:
    """Return thresholds: the first value is None, the others are where the colour begins."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in pairs]}


def panel(kind: str, number: int, title: str, at: tuple[int, int, int, int], *, sql: str, form: int, says: str) -> Json:
    """Return a panel at (x, y, width, height) of the grid of 24 columns; `says` is its description."""
    x, y, width, height = at
    return {
        "id": number,
        "type": kind,
        "title": title,
        "description": says,
        "gridPos": {"x": x, "y": y, "w": width, "h": height},
        "datasource": CHOSEN,
        "targets": [target(sql, form=form)],
        "fieldConfig": {"defaults": {}, "overrides": []},
        "options": {},
    }


def stat(
    number: int,
    title: str,
    at: tuple[int, int, int, int],
    *,
    sql: str,
    unit: str,
    thresholds: Json,
    says: str,
    none: tuple[str, str] | None = None,
) -> Json:
    """Return a panel with one number; `none` is text and colour where there is none, else it looks like the lowest."""
    made = panel("stat", number, title, at, sql=sql, form=TABLE, says=says)
    made["fieldConfig"]["defaults"] = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds,
        "noValue": "none" if none is None else none[0],
    }
    if none:
        text, color = none
        made["fieldConfig"]["defaults"]["mappings"] = [
            {"type": "special", "options": {"match": "null+nan", "result": {"text": text, "color": color, "index": 0}}}
        ]
    made["options"] = {
        "graphMode": "none",
        "colorMode": "value",
        "justifyMode": "auto",
        "textMode": "value",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return made


def over_time(
    number: int,
    title: str,
    at: tuple[int, int, int, int],
    *,
    sql: str,
    unit: str,
    says: str,
    colors: dict[str, str] | None = None,
    bars: bool = False,
) -> Json:
    """Return a time series panel; `colors` fixes the colour of series by name."""
    made = panel("timeseries", number, title, at, sql=sql, form=TIME_SERIES, says=says)
    # Not below a minute, which is what minute tables can give.
    made["interval"] = "1m"
    made["fieldConfig"] = {
        "defaults": {
            "unit": unit,
            "min": 0,
            "color": {"mode": "palette-classic"},
            "custom": {
                "drawStyle": "bars" if bars else "line",
                "fillOpacity": 60 if bars else 0,
                "lineWidth": 1,
                "showPoints": "auto",
                "spanNulls": False,
            },
        },
        "overrides": [
            {
                "matcher": {"id": "byName", "options": name},
                "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
            }
            for name, color in (colors or {}).items()
        ],
    }
    made["options"] = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["max", "lastNotNull"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return made


def table(
    number: int, title: str, at: tuple[int, int, int, int], *, sql: str, says: str, fields: dict[str, Json]
) -> Json:
    """Return a table; `fields` gives for a column the properties that differ from the default."""
    made = panel("table", number, title, at, sql=sql, form=TABLE, says=says)
    made["fieldConfig"] = {
        "defaults": {"custom": {"align": "auto", "filterable": True}},
        "overrides": [
            {
                "matcher": {"id": "byName", "options": name},
                "properties": [{"id": key, "value": value} for key, value in properties.items()],
            }
            for name, properties in fields.items()
        ],
    }
    made["options"] = {"showHeader": True, "cellHeight": "sm"}
    return made


def row(number: int, title: str, y: int) -> Json:
    """Return the heading of a row."""
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
        "panels": [],
    }


def datasource_variable() -> Json:
    """Return the variable that chooses the ClickHouse data source."""
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": PLUGIN,
        "current": {"text": "otjobs", "value": DATASOURCE_UID},
        "refresh": 1,
    }


def choice(name: str, label: str, sql: str) -> Json:
    """Return a variable with several values, all at first; its choices come from SQL."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": CHOSEN,
        "query": {"refId": name, "editorType": "sql", "queryType": "table", "format": TABLE, "rawSql": panel_sql(sql)},
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "sort": 0,
    }


def days(name: str, label: str, values: tuple[int, ...], chosen: int, says: str) -> Json:
    """Return a variable with one of several numbers of days."""
    return {
        "name": name,
        "label": label,
        "description": says,
        "type": "custom",
        "query": ",".join(str(value) for value in values),
        "options": [{"text": str(v), "value": str(v), "selected": v == chosen} for v in values],
        "current": {"text": str(chosen), "value": str(chosen)},
        "multi": False,
        "includeAll": False,
    }


def text_box(name: str, label: str) -> Json:
    """Return a variable that the reader types."""
    return {
        "name": name,
        "label": label,
        "type": "textbox",
        "query": "",
        "current": {"text": "", "value": ""},
        "options": [{"text": "", "value": "", "selected": True}],
    }


def dashboard(
    uid: str, title: str, says: str, panels: list[Json], variables: list[Json], *, since: str, refresh: str = ""
) -> Json:
    """Return a dashboard; `since` is the beginning of its time range."""
    return {
        "uid": uid,
        "title": title,
        "description": says,
        "tags": ["otjobs"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": since, "to": "now"},
        "refresh": refresh,
        "links": [
            {
                "title": "otjobs",
                "type": "dashboards",
                "tags": ["otjobs"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "The other dashboards of otjobs",
                "url": "",
            }
        ],
        "annotations": {"list": []},
        "templating": {"list": variables},
        "panels": panels,
    }
