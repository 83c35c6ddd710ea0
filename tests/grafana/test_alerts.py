"""The alert rules: a file that Grafana takes, SQL that gives what it evaluates, and they fire when they should."""

from __future__ import annotations

import copy
import itertools
import re
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from alert_file import problems
from panel_history import BAD, GOOD_OR_BAD, Attempt, History, Job, S
from panels import GRAFANA, OVERVIEW, alert_rules, alert_sql, dashboards, firing, run_panel, types

FILES = sorted((GRAFANA / "provisioning" / "alerting").iterdir())
RULES = sorted(alert_rules())
HOUR = 3600 * S
IDS = itertools.count(1)


def content():
    return yaml.safe_load(FILES[0].read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_grafana_takes_the_file(path):
    assert path.suffix == ".yaml"
    assert problems(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c, g, r: c.update(extra=1), "unknown key extra"),
        (lambda c, g, r: c.pop("apiVersion"), "apiVersion is not 1"),
        (lambda c, g, r: g.update(interval="15s"), "interval is no multiple of 10 s"),
        (lambda c, g, r: g.pop("folder"), "no folder"),
        (lambda c, g, r: r.update(condition="X"), "condition X is no refId"),
        (lambda c, g, r: r.update(noDataState="Ok"), "noDataState Ok"),
        (lambda c, g, r: r.update(**{"for": "90s"}), "for is no multiple"),
        (lambda c, g, r: r.pop("panelId"), "go together"),
        (lambda c, g, r: r["labels"].update(q="{{ $labels.queue }}"), "expanded from the environment"),
        (lambda c, g, r: r["annotations"].update(q="${HOME}"), "expanded from the environment"),
        (lambda c, g, r: r["data"][0]["relativeTimeRange"].update({"from": "15m"}), "relativeTimeRange"),
        (lambda c, g, r: r["data"][0]["model"].pop("intervalMs"), "buckets of a second"),
        (lambda c, g, r: r["data"][1]["model"].update(expression="Z"), "expression Z"),
        (lambda c, g, r: r["data"][1]["model"]["conditions"][0]["evaluator"].update(type="above"), "evaluator"),
        (lambda c, g, r: g["rules"].append(copy.deepcopy(r)), "is used twice"),
        (lambda c, g, r: r.update(uid="a b"), "uid is not"),
        (lambda c, g, r: c.update(policies=[]), "whole tree"),
    ],
)
def test_the_checker_sees(change, expected):
    broken = content()
    change(broken, broken["groups"][0], broken["groups"][0]["rules"][0])
    assert any(expected in text for text in problems(broken)), problems(broken)


@pytest.mark.parametrize("uid", RULES)
def test_a_rule_tells_people_what_to_do(uid):
    rule = alert_rules()[uid]
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"]
    assert "\n1. " in rule["annotations"]["description"]
    panels = {panel["id"]: panel for panel in dashboards()[rule["dashboardUid"]]["panels"]}
    assert panels[rule["panelId"]]["type"] == "stat"


def test_summaries_use_labels_that_the_query_gives(empty):
    for uid, rule in alert_rules().items():
        names = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert names <= set(types(empty, alert_sql(uid, datetime.now(UTC))))


@pytest.mark.clickhouse
@pytest.mark.parametrize("uid", RULES)
def test_the_answer_is_a_set_of_numbers(empty, uid):
    """One numeric column, last, and texts as labels: what needs no reduce."""
    (*labels, number) = types(empty, alert_sql(uid, datetime.now(UTC))).values()
    assert all(re.fullmatch(r"(LowCardinality\()?String\)?", kind) for kind in labels), labels
    assert re.fullmatch(r"UInt\d+|Int\d+|Float64", number)


def test_states_without_data():
    assert alert_rules()["otjobs-failure-ratio"]["noDataState"] == "OK"
    assert alert_rules()["otjobs-nothing-starts"]["noDataState"] == "OK"
    assert alert_rules()["otjobs-overtaken"]["noDataState"] == "OK"
    assert alert_rules()["otjobs-silence"]["noDataState"] == "Alerting"
    assert alert_rules()["otjobs-silence"]["execErrState"] == "Alerting"


def history(**more):
    return History(seed=3, size=400, now=time.time_ns() // 1000 * 1000, minutes=12, **more)


def stored(store, found):
    found.store(store)
    return store


def failing(found, seconds=900, limit=0.05):
    """Return which queue and type fail too often, recomputed."""
    ended = {}
    for _, what, job in found.events(found.now - seconds * S, found.now):
        ended.setdefault(job.key, []).append(what)
    ratios = {}
    for key, outcomes in ended.items():
        finals = [what for what in outcomes if what in GOOD_OR_BAD]
        if len(finals) >= 10:
            ratios[key] = sum(what in BAD for what in finals) / len(finals)
    return {key for key, ratio in ratios.items() if ratio > limit}, ratios


@pytest.mark.clickhouse
def test_the_failure_ratio_fires_for_those_that_fail(new_store):
    found = history(failing=0.5)
    store = stored(new_store(), found)
    # The history's own seconds: evaluated at its end
    now = datetime.fromtimestamp(found.now / S, UTC)
    true, ratios = failing(found)
    assert true
    rows = store.query(alert_sql("otjobs-failure-ratio", now)).rows
    assert {row[:-1]: row[-1] for row in rows} == pytest.approx(ratios, abs=1e-12)
    assert set(firing(store, "otjobs-failure-ratio", now)) == true


@pytest.mark.clickhouse
def test_the_failure_ratio_is_quiet_when_jobs_succeed(new_store):
    found = history(failing=0.0)
    calm = new_store()
    good = {job.trace for job in found.jobs} - {
        job.trace for job in found.jobs if any(attempt.outcome in BAD for attempt in job.attempts)
    }
    calm.insert_spans([row for row in found.spans() if row[1] in good])
    now = datetime.fromtimestamp(found.now / S, UTC)
    assert calm.query(alert_sql("otjobs-failure-ratio", now)).rows, "there is something to judge"
    assert firing(calm, "otjobs-failure-ratio", now) == []


@pytest.mark.clickhouse
def test_a_few_failures_alone_are_no_ratio(new_store):
    found = history(failing=0.5)
    few = new_store()
    few.insert_spans([row for job in found.jobs if job.last.outcome == "failure" for row in found.spans_of(job)][:9])
    now = datetime.fromtimestamp(found.now / S, UTC)
    assert few.query(alert_sql("otjobs-failure-ratio", now)).rows == []


@pytest.mark.clickhouse
def test_silence_fires_when_nothing_arrives(new_store, empty):
    store = stored(new_store(), history())
    now = datetime.now(UTC)
    assert firing(store, "otjobs-silence", now) == []
    assert firing(store, "otjobs-silence", now + timedelta(minutes=14)) == []
    assert firing(store, "otjobs-silence", now + timedelta(minutes=16)) == [()]
    assert firing(empty, "otjobs-silence", now) == [()]


@pytest.mark.clickhouse
def test_silence_is_quiet_while_signs_of_life_arrive(new_store):
    # Given nothing but a run of three hours that says every half a minute that it goes on
    store, now = new_store(), time.time_ns() // 1000 * 1000
    long = Attempt(1, now - 3 * HOUR, started=now - 3 * HOUR, beacon=now - 20 * S, outcome="running")
    store.insert_spans(History.spans_of(Job("1", "celery", "q", "report", "a" * 32, now - 3 * HOUR, [long])))
    # Then there was no event of a job in the window, and yet spans arrive
    assert firing(store, "otjobs-silence", datetime.now(UTC)) == []


def queue_of(queue, now, *, started=None, ready=None):
    """Return the spans of one job of a queue: that waits, or that started and ended at once."""
    job = Job(str(next(IDS)), "celery", queue, "mail", uuid.uuid4().hex, ready, [Attempt(1, ready)])
    if started is not None:
        job.attempts[0].started, job.attempts[0].ended, job.attempts[0].outcome = started, started + S, "success"
    return History.spans_of(job)


@pytest.mark.clickhouse
def test_nothing_starts_fires_when_all_workers_are_dead(new_store):
    store, now = new_store(), time.time_ns() // 1000 * 1000
    minute = 60 * S
    dead = queue_of("dead", now, ready=now - 40 * minute, started=now - 30 * minute)
    for ready in range(25, 0, -1):  # and they are dispatched all the time
        dead += queue_of("dead", now, ready=now - ready * minute)
    busy = queue_of("busy", now, ready=now - 20 * minute) + queue_of(
        "busy", now, ready=now - 9 * minute, started=now - 8 * minute
    )
    fresh = queue_of("fresh", now, ready=now - 5 * minute)
    store.insert_spans(dead + busy + fresh)
    # Then it is told of the queue where jobs waited for 15 minutes and none started, though its spans arrive
    assert store.query(alert_sql("otjobs-nothing-starts", datetime.now(UTC))).rows == [("celery", "dead", 11)]
    assert firing(store, "otjobs-nothing-starts", datetime.now(UTC)) == [("celery", "dead")]
    assert firing(store, "otjobs-silence", datetime.now(UTC)) == []


@pytest.mark.clickhouse
def test_overtaken_jobs_are_told_of(new_store, empty):
    store, now = new_store(), time.time_ns() // 1000 * 1000
    minute = 60 * S
    starved = queue_of("starved", now, ready=now - 90 * minute) + queue_of("starved", now, ready=now - 30 * minute)
    starved += queue_of("starved", now, ready=now - 50 * minute, started=now - 10 * minute)
    in_turn = queue_of("in turn", now, ready=now - 90 * minute)
    in_turn += queue_of("in turn", now, ready=now - 95 * minute, started=now - 10 * minute)
    idle = queue_of("idle", now, ready=now - 90 * minute) + queue_of(
        "idle", now, ready=now - 80 * minute, started=now - 70 * minute
    )
    store.insert_spans(starved + in_turn + idle)
    assert store.query(alert_sql("otjobs-overtaken", datetime.now(UTC))).rows == [("celery", "starved", "mail", 1)]
    assert firing(store, "otjobs-overtaken", datetime.now(UTC)) == [("celery", "starved", "mail")]
    assert firing(empty, "otjobs-overtaken", datetime.now(UTC)) == []
    day = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC)
    assert run_panel(store, OVERVIEW, "Overtaken", *day) == [{"overtaken": 1}]
    assert run_panel(store, OVERVIEW, "Waiting now", *day) == [{"waiting": 4}]
