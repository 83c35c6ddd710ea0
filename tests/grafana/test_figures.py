"""Every panel's figures on the real ClickHouse equal those recomputed from the history."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from panel_history import BAD, GOOD_OR_BAD, MS, STATES, Attempt, History, Job, S, quantile
from panels import OVERVIEW, TRACE, panel_sql, panels, run_panel, run_variable

pytestmark = pytest.mark.clickhouse

MINUTE = 60 * S
OUTCOMES = ("success", "failure", "retry", "expired", "cancelled", "rejected", "lost")
COLUMNS = ("dispatched", "started", "succeeded", "failed", "retried", "expired", "cancelled", "rejected", "lost")
EVENTS = dict(zip(("dispatched", "started", *OUTCOMES), COLUMNS, strict=True))


def at(ns):
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)


def ns(moment):
    return round(moment.timestamp() * 1000) * MS


@pytest.fixture(scope="module")
def twelve_days(new_store):
    """Return a history of twelve days and the store that has its spans."""
    history = History(seed=11, size=1200, now=time.time_ns() // 1000 * 1000, minutes=12 * 1440)
    store = new_store()
    # A job without a dispatch time is read always; here it is not about them.
    store.insert_spans([row for job in history.jobs if job.enqueued is not None for row in History.spans_of(job)])
    return history, store


def choice(system=None, queue=None, job_type=None):
    """Return a choice of variables, and the same as a condition on a job of the history."""
    given = {"system": system, "queue": queue, "job_type": job_type}
    variables = {name: values for name, values in given.items() if values}

    def keep(job):
        return all(
            not values or value in values for value, values in zip(job.key, (system, queue, job_type), strict=True)
        )

    return variables, keep


CHOICES = {
    "all": choice(),
    "one queue": choice(queue=["mails"]),
    "one system": choice(system=["rq"]),
    "types, one with a quote": choice(job_type=["o'clock", "order"]),
    "system and queue": choice(system=["celery"], queue=["mails", "orders"], job_type=["mail"]),
}


@pytest.fixture(params=CHOICES)
def chosen(request):
    return CHOICES[request.param]


@pytest.fixture(params=["to now", "inside", "odd seconds"])
def span(request, past):
    """Return a time range as datetimes of whole milliseconds."""
    now = past[0].now // MS * MS
    start, end = {
        "to now": (now - 60 * MINUTE, now),
        "inside": (now - 41 * MINUTE, now - 13 * MINUTE),
        "odd seconds": (now - 33 * MINUTE - 7_123 * MS, now - 4 * MINUTE - 17 * MS),
    }[request.param]
    return at(start), at(end)


def buckets(start, end, seconds=60):
    first = int(start.timestamp()) // seconds * seconds
    return range(first, int(end.timestamp()), seconds)


def bucket(moment, seconds=60):
    return moment // S // seconds * seconds


def rows_by_time(rows):
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    return {int(row.pop("time").timestamp()): row for row in rows}


def test_the_history_has_everything(past):
    history, _ = past
    seen = Counter(attempt.outcome for attempt in history.attempts())
    assert all(seen[outcome] >= 5 for outcome in (*OUTCOMES, "running", "")), seen
    states = Counter(job.state(history.now) for job in history.jobs)
    wanted = (
        "succeeded",
        "failed",
        "retrying",
        "expired",
        "cancelled",
        "rejected",
        "lost",
        "waiting",
        "scheduled",
        "running",
    )
    assert all(states[state] >= 2 for state in wanted), states
    assert sum(job.enqueued is None for job in history.jobs) >= 5


@pytest.mark.parametrize("interval", [60, 300])
def test_jobs_over_time(past, span, chosen, interval):
    history, store = past
    variables, keep = chosen
    true = {time: dict.fromkeys(COLUMNS, 0) for time in buckets(*span, interval)}
    for moment, what, _ in history.events(ns(span[0]), ns(span[1]), keep):
        true.setdefault(bucket(moment, interval), dict.fromkeys(COLUMNS, 0))[EVENTS[what]] += 1
    rows = run_panel(store, OVERVIEW, "Jobs over time", *span, variables, interval_seconds=interval)
    assert rows_by_time(rows) == true


def test_failures_over_time(past, span, chosen):
    history, store = past
    variables, keep = chosen
    true = Counter(
        (bucket(moment), job.type)
        for moment, what, job in history.events(ns(span[0]), ns(span[1]), keep)
        if what in BAD
    )
    rows = run_panel(store, OVERVIEW, "Failures over time", *span, variables)
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert {(int(row["time"].timestamp()), row["type"]): row["failures"] for row in rows} == true


def test_types_below_the_ten_worst_are_one_series(new_store):
    # Given twelve types, of which the n-th failed n times
    store = new_store()
    now = time.time_ns() // 1000 * 1000
    spans = []
    for number in range(1, 13):
        for job in range(number):
            failed = Attempt(1, now - 9 * S, started=now - 8 * S, ended=now - 7 * S, outcome="failure", error="E")
            name, trace = f"type{number:02}", f"{number:016x}{job:016x}"
            spans += History.spans_of(Job(f"{number}000{job}", "celery", "q", name, trace, now - 9 * S, [failed]))
    store.insert_spans(spans)
    rows = run_panel(store, OVERVIEW, "Failures over time", at(now - 3600 * S), at(now))
    found = Counter()
    for row in rows:
        found[row["type"]] += row["failures"]
    assert found == {"other types": 1 + 2} | {f"type{number:02}": number for number in range(3, 13)}


def quantiles(values):
    return {
        name: pytest.approx(quantile(values, q), abs=1e-6) for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
    }


@pytest.mark.parametrize(
    ("title", "moment", "value"), [("Queueing time", "started", "wait"), ("Runtime", "ended", "run")]
)
def test_quantiles(past, span, chosen, title, moment, value):
    history, store = past
    variables, keep = chosen
    values = defaultdict(list)
    for attempt in history.attempts(keep):
        when = getattr(attempt, moment)
        if when is not None and ns(span[0]) <= when <= ns(span[1]) and getattr(attempt, value) is not None:
            values[bucket(when)].append(getattr(attempt, value))
    rows = run_panel(store, OVERVIEW, title, *span, variables)
    assert rows_by_time(rows) == {time: quantiles(found) for time, found in values.items()}


def test_failure_ratio(past, span, chosen):
    history, store = past
    variables, keep = chosen
    ended = Counter(what for _, what, _ in history.events(ns(span[0]), ns(span[1]), keep))
    true = sum(ended[what] for what in BAD) / sum(ended[what] for what in GOOD_OR_BAD)
    assert run_panel(store, OVERVIEW, "Failure ratio", *span, variables) == [
        {"failure_ratio": pytest.approx(true, abs=1e-12)}
    ]


def test_what_is_open_now(past, span, chosen):
    history, store = past
    variables, keep = chosen
    states = Counter(job.state(history.now) for job in history.jobs if keep(job))
    assert run_panel(store, OVERVIEW, "Waiting now", *span, variables) == [{"waiting": states["waiting"]}]
    assert run_panel(store, OVERVIEW, "Overtaken", *span, variables) == [{"overtaken": 0}]
    assert run_panel(store, OVERVIEW, "Running now", *span, variables) == [{"running": states["running"]}]
    # Workflows cross queues: the choice does not matter.
    assert run_panel(store, OVERVIEW, "Open workflows", *span, variables) == [
        {"open_workflows": history.open_workflows()}
    ]


def test_oldest_wait_and_silence_grow_with_the_clock(past, span, chosen):
    history, store = past
    variables, keep = chosen
    ready = [job.waiting_since for job in history.jobs if keep(job) and job.state(history.now) == "waiting"]
    moments = [moment for moment, _, _ in history.events(ns(span[0]), ns(span[1]), keep)]
    for title, column, origin in (
        ("Oldest wait", "oldest_wait", min(ready) if ready else None),
        ("Silent for", "silent_seconds", max(moments) // MS * MS),
    ):
        before = time.time_ns()
        ((row),) = run_panel(store, OVERVIEW, title, *span, variables)
        after = time.time_ns()
        if origin is None:
            assert row == {column: None}
        else:
            assert (before - origin) / S - 0.002 <= row[column] <= (after - origin) / S + 0.002


def test_slowest_jobs(past, span, chosen):
    history, store = past
    variables, keep = chosen
    start, end = ns(span[0]), ns(span[1])

    def inside(job):
        moment = job.enqueued if job.enqueued is not None else job.attempts[0].started
        return moment is not None and start <= moment <= end

    found = sorted(
        (job for job in history.jobs if keep(job) and inside(job) and job.run is not None), key=lambda j: -j.run
    )
    true = [
        {
            "job_type": job.type,
            "queue": job.queue,
            "job_id": job.id,
            "state": job.state(history.now),
            "attempts": sum(attempt.started is not None for attempt in job.attempts),
            "dispatched_at": at(job.enqueued) if job.enqueued is not None else None,
            "queue_seconds": pytest.approx(job.attempts[0].wait, abs=1e-6) if job.enqueued is not None else None,
            "run_seconds": pytest.approx(job.run, abs=1e-6),
            "trace": job.trace,
        }
        for job in found[:20]
    ]
    assert run_panel(store, OVERVIEW, "Slowest jobs", *span, variables) == true


def test_failures(past, span, chosen):
    history, store = past
    variables, keep = chosen
    groups = defaultdict(list)
    bad_states = {STATES.get(outcome, outcome) for outcome in BAD}
    for job in filter(keep, history.jobs):
        if job.state(history.now) in bad_states and ns(span[0]) <= job.ended <= ns(span[1]):
            groups[*job.key, job.state(history.now), job.last.error].append(job)
    true = [
        {
            "job_type": job_type,
            "queue": queue,
            "state": state,
            "error_type": error,
            "jobs": len(jobs),
            "dead_letters": sum(job.dead_letter for job in jobs),
            "last_at": at(max(job.ended for job in jobs)),
            "trace": max(jobs, key=lambda job: job.ended).trace,
        }
        for (_, queue, job_type, state, error), jobs in groups.items()
    ]
    rows = run_panel(store, OVERVIEW, "Failures", *span, variables)
    assert sorted(rows, key=repr) == sorted(true, key=repr)
    assert [row["jobs"] for row in rows] == sorted((row["jobs"] for row in rows), reverse=True)


def test_the_choices_of_variables(past, span):
    _, store = past
    assert run_variable(store, OVERVIEW, "system", *span) == ["celery", "rq"]
    assert run_variable(store, OVERVIEW, "queue", *span) == ["mails", "orders"]
    assert run_variable(store, OVERVIEW, "job_type", *span) == ["charge", "mail", "o'clock", "order"]
    assert run_variable(store, OVERVIEW, "queue", *span, {"system": ["rq"]}) == ["mails"]
    assert run_variable(store, OVERVIEW, "job_type", *span, {"queue": ["mails"], "system": ["celery"]}) == ["mail"]


def test_jobs_before_the_lookback_are_left_out(twelve_days):
    history, store = twelve_days
    later = at(history.now + 3 * 86400 * S)
    far = at(history.now + 30 * 86400 * S)
    everyone = ["mails", "orders"]
    for start, lookback, true in ((later, "7", everyone), (far, "7", []), (far, "90", everyone)):
        found = run_variable(store, OVERVIEW, "queue", start, far, {"lookback": lookback, "system": ["celery"]})
        assert found == true, (start, lookback)


@pytest.mark.parametrize("lookback", ["1", "7"])
def test_who_waits_is_counted_whatever_the_age_and_the_range(past, lookback):
    history, store = past
    range_ = at(history.now - 600 * S), at(history.now - 300 * S)
    long_after = at(history.now + 30 * 86400 * S), at(history.now + 31 * 86400 * S)
    waiting = sum(job.state(history.now) == "waiting" for job in history.jobs)
    for start, end in (range_, long_after):
        rows = run_panel(store, OVERVIEW, "Waiting now", start, end, {"lookback": lookback})
        assert rows == [{"waiting": waiting}], (start, lookback)


def rows_read(store, title, start, end, lookback):
    sql = panel_sql(OVERVIEW, title, start, end, {"lookback": lookback})
    return sum(row["rows"] for row in store.query(f"EXPLAIN ESTIMATE {sql}").dicts())


# What is open now does not depend on when it was dispatched.
NOW = ("Open workflows", "Waiting now", "Overtaken", "Oldest wait", "Running now")


@pytest.mark.parametrize("title", [title for title in panels(OVERVIEW) if title not in NOW])
def test_a_short_time_range_reads_little(twelve_days, title):
    now = at(twelve_days[0].now)
    little = rows_read(twelve_days[1], title, now - timedelta(hours=1), now, "1")
    everything = rows_read(twelve_days[1], title, now - timedelta(days=12), now, "400")
    assert everything > 1000
    assert little < everything / 3


@pytest.mark.parametrize("title", ["Jobs over time", "Queueing time", "Runtime", "Failures", "Slowest jobs"])
def test_a_time_range_long_ago_reads_little(twelve_days, title):
    end = at(twelve_days[0].now) - timedelta(days=8)
    little = rows_read(twelve_days[1], title, end - timedelta(hours=1), end, "1")
    assert little < rows_read(twelve_days[1], title, end - timedelta(days=4), end + timedelta(days=8), "400") / 2


def test_a_trace(past, span):
    history, store = past
    root = next(job for job in history.jobs if len(job.children) == 3 and int(job.id) % 7)
    rows = run_panel(store, TRACE, "Trace", *span, {"trace_id": root.trace})
    jobs = [root, *root.children]
    executions = [row for row in rows if row["operationName"].startswith("execute")]
    true = {
        (f"execute {job.type}", round(attempt.started / MS, 3), round(attempt.run * 1000, 3))
        for job in jobs
        for attempt in job.attempts
        if attempt.started is not None and attempt.beacon is None
    }
    assert {(row["operationName"], round(row["startTime"], 3), round(row["duration"], 3)) for row in executions} == true
    assert len({row["spanID"] for row in rows}) == len(rows)
    (dispatch,) = [row for row in rows if row["operationName"] == f"dispatch {root.type}"]
    assert {tag["key"]: tag["value"] for tag in dispatch["tags"]}["messaging.message.id"] == root.id
    assert {"key": "service.version", "value": "1.2.3"} in dispatch["serviceTags"]
    assert dispatch["references"] == [{"traceID": "f" * 32, "spanID": "e" * 16, "tags": []}]
    assert dispatch["logs"][0]["name"] == "seen"
    assert dispatch["logs"][0]["fields"] == [{"key": "k", "value": "v"}]
    attempts = run_panel(store, TRACE, "Attempts of the workflow", *span, {"trace_id": root.trace})
    assert {(row["job_id"], row["attempt"], row["outcome"]) for row in attempts} == {
        (job.id, attempt.number, attempt.outcome) for job in jobs for attempt in job.attempts if attempt.outcome
    }


def test_a_trace_shows_what_failed(past, span):
    history, store = past
    job = next(job for job in history.jobs if [attempt.outcome for attempt in job.attempts] == ["retry", "success"])
    rows = run_panel(store, TRACE, "Trace", *span, {"trace_id": job.trace})
    executions = sorted(
        (row["startTime"], row["statusCode"]) for row in rows if row["operationName"] == f"execute {job.type}"
    )
    assert [code for _, code in executions] == [2, 0]


def test_no_trace_is_no_rows(past, span):
    _, store = past
    assert run_panel(store, TRACE, "Trace", *span) == []
    assert run_panel(store, TRACE, "Trace", *span, {"trace_id": "it's none"}) == []
