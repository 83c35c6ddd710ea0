"""Every query answers on an empty database too, in the shape its panel needs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from macros import ALL
from panels import OVERVIEW, TRACE, dashboards, panel_sql, panels, run_panel, run_variable, types

pytestmark = pytest.mark.clickhouse

END = datetime.now(UTC).replace(second=30, microsecond=0)
START = END - timedelta(hours=1)
PANELS = [(uid, title) for uid in sorted(dashboards()) for title in panels(uid)]
VARIABLES = [v["name"] for v in dashboards()[OVERVIEW]["templating"]["list"] if v["type"] == "query"]
CHOICES = [{}, {"system": ["rq"], "queue": ["a", "b'c"], "job_type": ["x, (y"], "lookback": "400"}]
NUMBER = r"U?Int(8|16|32|64)|Float64"


@pytest.mark.parametrize(("uid", "title"), PANELS)
@pytest.mark.parametrize("variables", CHOICES)
def test_an_empty_database_answers(empty, uid, title, variables):
    chosen = variables if uid == OVERVIEW else {"trace_id": "ab" * 16}
    rows = run_panel(empty, uid, title, START, END, chosen)
    # A count of nothing is 0; there is no ratio, oldest wait or newest event of nothing.
    none = {"Failure ratio": [None], "Oldest wait": [None], "Silent for": [None]}
    if panels(uid)[title]["type"] == "stat":
        assert [value for row in rows for value in row.values()] == none.get(title, [0])
    elif title == "Jobs over time":
        assert len(rows) == 61  # the first and the last are halves
        assert all(value == 0 for row in rows for name, value in row.items() if name != "time")
    else:
        assert rows == []


def test_nothing_at_all_is_not_green():
    # Grafana gives what is null the lowest threshold's colour, if nothing maps it.
    (mapping,) = panels(OVERVIEW)["Silent for"]["fieldConfig"]["defaults"]["mappings"]
    assert mapping["options"] == {"match": "null+nan", "result": {"text": "no events", "color": "red", "index": 0}}


@pytest.mark.parametrize("name", VARIABLES)
def test_variables_answer_on_an_empty_database(empty, name):
    assert run_variable(empty, OVERVIEW, name, START, END) == []


@pytest.mark.parametrize(("uid", "title"), PANELS)
def test_the_shape_fits_the_panel(empty, uid, title):
    kind = panels(uid)[title]["type"]
    columns = types(empty, panel_sql(uid, title, START, END))
    if kind == "timeseries":
        # Time first and never null, then numbers; a text becomes a label.
        (time, *others) = columns.values()
        assert next(iter(columns)) == "time"
        assert re.fullmatch(r"DateTime(\('UTC'\))?", time), time
        assert sum(bool(re.fullmatch(NUMBER, other)) for other in others) >= 1
        assert all(re.fullmatch(rf"{NUMBER}|String|LowCardinality\(String\)", other) for other in others), others
    elif kind == "stat":
        (number,) = columns.values()
        assert re.fullmatch(rf"(Nullable\()?({NUMBER})\)?", number), number
    elif kind == "table":
        shown = {m["matcher"]["options"] for m in panels(uid)[title]["fieldConfig"]["overrides"]}
        assert shown <= columns.keys(), "an override names a column that is not there"
    else:
        needed = {"traceID", "spanID", "parentSpanID", "operationName", "serviceName", "startTime", "duration"}
        assert needed <= columns.keys()
        assert columns["startTime"] == columns["duration"] == "Float64"
        assert columns["tags"] == columns["serviceTags"] == "Array(Map(String, String))"


@pytest.mark.parametrize("title", [title for uid, title in PANELS if uid == OVERVIEW and title != "Open workflows"])
def test_every_panel_follows_the_variables(title):
    raw = panels(OVERVIEW)[title]["targets"][0]["rawSql"]
    assert all(f"${{{name}:singlequote}}" in raw for name in VARIABLES)


def test_the_dashboard_opens_with_everything():
    assert [v["current"]["value"] for v in dashboards()[OVERVIEW]["templating"]["list"] if v["type"] == "query"] == [
        [ALL]
    ] * 3
    assert panels(TRACE)["Trace"]["type"] == "traces"
