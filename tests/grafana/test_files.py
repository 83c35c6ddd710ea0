"""The rendered files: up to date, readable by Grafana, complete, and consistent among each other."""

from __future__ import annotations

import copy
import json
import re
import shutil
import warnings
from importlib.resources import files

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from panels import GRAFANA, OVERVIEW, TRACE, alert_rules, dashboards, panels

from grafana.render import rendered, stale

DASHBOARDS = sorted(dashboards())
PANELS = [(uid, title) for uid in DASHBOARDS for title in panels(uid)]
# What Grafana 13.2 calls its units, as far as they are used here.
USED_UNITS = {"s", "short", "percentunit"}


def test_the_files_are_those_of_the_source():
    assert stale() == [], "run: python -m grafana.render"


def test_a_changed_a_missing_and_a_left_over_file_are_stale(tmp_path):
    for place in ("dashboards", "provisioning"):
        shutil.copytree(GRAFANA / place, tmp_path / place)
    assert stale(tmp_path) == []
    changed, missing = sorted(rendered())[:2]
    (tmp_path / changed).write_text("{}")
    (tmp_path / missing).unlink()
    (tmp_path / "dashboards" / "old.json").write_text("{}")
    assert {str(path) for path in stale(tmp_path)} == {str(changed), str(missing), "dashboards/old.json"}


def lost(given, kept, where=""):
    """Return the keys and list members of `given` that are not in `kept`."""
    if isinstance(given, dict):
        found = [f"{where}.{key}" for key in given.keys() - (kept.keys() if isinstance(kept, dict) else set())]
        return found + [
            text
            for key, value in given.items()
            if isinstance(kept, dict) and key in kept
            for text in lost(value, kept[key], f"{where}.{key}")
        ]
    if isinstance(given, list):
        pairs = enumerate(given)
        return [
            text
            for at, value in pairs
            for text in (lost(value, kept[at], f"{where}[{at}]") if at < len(kept) else [f"{where}[{at}]"])
        ]
    return [] if given == kept else [f"{where} = {kept!r}"]


def round_trip(dashboard):
    with warnings.catch_warnings():
        # It would rather have the newer schema, which Grafana's file provisioning does not take.
        warnings.simplefilter("ignore", DeprecationWarning)
        from grafana_foundation_sdk.models.dashboard import Dashboard
    register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(copy.deepcopy(dashboard)), cls=JSONEncoder))


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_grafanas_schema_knows_every_key(uid):
    dashboard = dashboards()[uid]
    assert lost(dashboard, round_trip(dashboard)) == []


def test_a_misspelt_key_would_be_lost():
    dashboard = dashboards()[OVERVIEW]
    dashboard["panels"][0]["fieldConfig"]["defaults"]["unitt"] = "s"
    assert lost(dashboard, round_trip(dashboard)) == [".panels[0].fieldConfig.defaults.unitt"]


def units(value):
    """Give every unit in a panel: of the defaults and of the overrides."""
    if isinstance(value, dict):
        if isinstance(value.get("unit"), str):
            yield value["unit"]
        if value.get("id") == "unit":
            yield value["value"]
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from units(part)


def test_units_are_grafanas():
    used = {unit for uid in DASHBOARDS for unit in units(dashboards()[uid]["panels"])}
    assert used == USED_UNITS
    text = (files("grafana_foundation_sdk") / "models" / "units.py").read_text()
    assert used <= set(re.findall(r'Literal\["([^"]*)"\]', text))


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_a_dashboard_is_complete(uid):
    dashboard = dashboards()[uid]
    assert dashboard["schemaVersion"] == 42
    assert dashboard["uid"] == uid
    assert "id" not in dashboard
    assert dashboard["editable"] is False
    assert dashboard["description"].endswith(".")
    assert dashboard["templating"]["list"][0]["type"] == "datasource"
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_panels_do_not_overlap(uid):
    taken = {}
    for panel in dashboards()[uid]["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]


@pytest.mark.parametrize(("uid", "title"), PANELS)
def test_a_panel_says_what_it_leaves_out_and_how_late_it_is(uid, title):
    panel = panels(uid)[title]
    says = panel["description"]
    assert re.search(r"[Nn]ot counted|are not counted|have no span", says), says
    assert "Late by up to" in says
    assert (
        panel["datasource"]
        == panel["targets"][0]["datasource"]
        == {
            "type": "grafana-clickhouse-datasource",
            "uid": "${datasource}",
        }
    )
    assert panel["targets"][0]["format"] == {"timeseries": 0, "stat": 1, "table": 1, "traces": 3}[panel["type"]]
    thresholds = panel["fieldConfig"]["defaults"].get("thresholds", {"steps": []})["steps"]
    assert [step["value"] for step in thresholds[:1]] == ([None] if panel["type"] == "stat" else [])
    values = [step["value"] for step in thresholds[1:]]
    assert values == sorted(values)
    if values:
        assert "Yellow from" in says, "thresholds have a meaning, and the description gives it"


def test_links_lead_to_the_trace_dashboard():
    names = {variable["name"] for variable in dashboards()[TRACE]["templating"]["list"]}
    for title in ("Slowest jobs", "Failures"):
        overrides = panels(OVERVIEW)[title]["fieldConfig"]["overrides"]
        (links,) = [
            p["value"]
            for o in overrides
            if o["matcher"]["options"] == "trace"
            for p in o["properties"]
            if p["id"] == "links"
        ]
        assert links[0]["url"].startswith(f"/d/{TRACE}?var-trace_id=${{__value.raw}}&")
        assert set(re.findall(r"var-(\w+)=", links[0]["url"])) <= names
        # A column of this name gets the plugin's own links instead.
        assert not re.search(r"AS trace_?id\b", panels(OVERVIEW)[title]["targets"][0]["rawSql"], re.IGNORECASE)


def test_sql_is_in_files_alone():
    used = set()
    for path in GRAFANA.glob("*.py"):
        text = path.read_text()
        assert not re.search(r"\bSELECT\b.*\bFROM\b(?! otel_traces` move)", text), path
        used |= set(re.findall(r'"(\w+)"', text))
    names = {path.stem for path in (GRAFANA / "sql").glob("*.sql")}
    assert names <= used, f"used by nothing: {names - used}"


def test_the_data_source():
    (source,) = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "otjobs.yaml").read_text())["datasources"]
    assert source["uid"] == dashboards()[OVERVIEW]["templating"]["list"][0]["current"]["value"]
    assert {query["datasourceUid"] for rule in alert_rules().values() for query in rule["data"]} == {
        source["uid"],
        "__expr__",
    }
    assert source["secureJsonData"] == {"password": "$OTJOBS_READER_PASSWORD"}
    # The plugin reads these names and no others.
    assert {"host", "port", "username", "defaultDatabase", "protocol"} <= source["jsonData"].keys()
    assert not {"server", "user", "database", "password"} & source["jsonData"].keys()
    assert source["jsonData"]["enableRowLimit"] is False
    assert all(isinstance(source["jsonData"][name], str) for name in ("dialTimeout", "queryTimeout"))


def test_the_dashboards_provider():
    (provider,) = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "otjobs.yaml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
    # These two exclude each other.
    assert not ("folder" in provider and provider["options"].get("foldersFromFilesStructure"))
