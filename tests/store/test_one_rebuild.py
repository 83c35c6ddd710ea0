"""One rebuild at a time, and a way on after each way in which one can end."""

from __future__ import annotations

import json
import shlex
import threading
import time
from datetime import timedelta

import pytest
from click.testing import CliRunner
from jobs_of import midnight, workflow
from rebuilding import killed

from otjobs.backend.cli.app import cli
from otjobs.backend.store import connect, lease
from otjobs.backend.store.rebuild import abandon, rebuild
from otjobs.backend.store.rebuild_plan import plan, unfinished
from otjobs.backend.store.shadows import leftovers
from otjobs.errors import StoreError

pytestmark = [pytest.mark.clickhouse, pytest.mark.usefixtures("not_refreshed")]
DAY = midnight(3)
STATES = "SELECT job_id, attempt, started_at, ending FROM attempt_states FINAL ORDER BY job_id, attempt"


@pytest.fixture
def days(store):
    store.insert_spans(workflow(1, DAY + timedelta(hours=1)) + workflow(2, DAY + timedelta(days=1, hours=1)))
    return plan(store, DAY.date(), (DAY + timedelta(days=1)).date())


def doctor(url):
    told = CliRunner().invoke(cli, ["doctor", "--json", "--url", url])
    return [(row["found"], row["next"]) for row in json.loads(told.output) if row["check"] == "rebuild"]


def test_a_second_one_is_refused_and_one_that_is_taken_over_stops(store, url, days):
    # Given a rebuild that takes its time
    reached, go_on, end = threading.Event(), threading.Event(), []

    def slowly(what, done, total):
        reached.set()
        assert go_on.wait(60)

    def first():
        mine = connect(url)
        try:
            rebuild(mine, days, ["attempt_states"], report=slowly)
        except StoreError as error:
            end.append(str(error))
        finally:
            mine.close()

    thread = threading.Thread(target=first)
    thread.start()
    assert reached.wait(60)
    right = store.query(STATES).rows
    # When another one is called, then it is refused, and changes nothing;
    before = leftovers(store)
    assert len(before) > 2
    with pytest.raises(StoreError, match=r"is going on: \w+ on .*, process \d+, last heard of .* --take-over"):
        rebuild(store, days[:1])
    with pytest.raises(StoreError, match="is going on"):
        abandon(store)
    assert leftovers(store) == before
    assert unfinished(store).days == [str(day) for day in days]
    [(found, following)] = doctor(url)
    assert found.startswith("by ")
    assert following == ""
    # told to take it over, it goes on, and the first one stops at its next step.
    counts = rebuild(store, days, ["attempt_states"], take_over=True)
    go_on.set()
    thread.join(60)
    assert len(end) == 1
    assert "took it over" in end[0]
    assert {count.day for count in counts} == {str(day) for day in days}
    assert store.query(STATES).rows == right
    assert leftovers(store) == []
    # The next one needs no leave.
    rebuild(store, days, ["workflow_marks"])
    assert doctor(url) == []


def test_after_a_kill_the_lease_runs_out_and_the_doctor_says_how_to_go_on(store, url, days, monkeypatch):
    right = store.query(STATES).rows
    process = killed(url, days[0], days[-1], "_swap_day", 1)
    # As long as it may be alive, no other begins.
    with pytest.raises(StoreError, match=rf"process {process}, last heard of"):
        rebuild(store, days)
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr("otjobs.backend.cli.doctor.LEASE_SECONDS", 1.0)
    time.sleep(1.5)
    # Then the doctor's command finishes what was begun.
    [(found, following)] = doctor(url)
    assert found == f"of {days[0]} to {days[-1]} is not finished, and costs inserts some time"
    assert following == f"otjobs rebuild --from {days[0]} --to {days[-1]}"
    done = CliRunner().invoke(cli, [*shlex.split(following)[1:], "--json", "--url", url])
    assert done.exit_code == 0, done.output
    assert {count["day"] for count in json.loads(done.stdout)["counts"]} >= {str(day) for day in days}
    assert unfinished(store) is None
    assert doctor(url) == []
    assert store.query(STATES).rows == right


def test_what_was_left_is_dropped_on_request(store, url, days):
    killed(url, days[0], days[-1], "_swap_day", 1)
    done = CliRunner().invoke(cli, ["rebuild", "--abandon", "--take-over", "--url", url])
    assert done.exit_code == 0, done.output
    assert leftovers(store) == []
    assert unfinished(store) is None
    # Also what nobody knows of any more.
    store.command("CREATE TABLE rebuild_attempt_states AS attempt_states")
    assert doctor(url) == [("nobody needs rebuild_attempt_states", "otjobs rebuild --abandon")]
    assert CliRunner().invoke(cli, ["rebuild", "--abandon", "--url", url]).exit_code == 0
    assert doctor(url) == []


def test_who_is_at_it_stays_so_during_a_long_statement(store, days, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.5)
    monkeypatch.setattr(lease, "_RENEW_SECONDS", 0.2)
    with lease.lease(store) as mine:
        store.query("SELECT sleepEachRow(1) FROM numbers(3)")
        mine.check()
        assert lease.holder(store)[1] < 1.5
    assert lease.holder(store) is None


def test_of_two_at_one_moment_one_begins(url, days):
    begun, refused = [], []

    def begin():
        mine = connect(url)
        try:
            with lease.lease(mine):
                begun.append(1)
                time.sleep(2)
        except StoreError:
            refused.append(1)
        finally:
            mine.close()

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(begun), len(refused)) == (1, 3)
