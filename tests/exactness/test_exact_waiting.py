"""Who waits is one number, wherever it is shown: retries that are due included, those in backoff not, whatever the age."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from click.testing import CliRunner
from history import History, Job, Observed, Run, S, Workflow
from model import overtaken
from spans_of import spans_of

from otjobs.backend.cli.app import cli

HOUR, DAY = 3600 * S, 86_400 * S
IDS = itertools.count(1)


@pytest.fixture(params=["bench", "aging_bench", "shards_bench"])
def each_bench(request):
    """Return chDB, a server whose stored rows are made as in service, and shards."""
    found = request.getfixturevalue(request.param)
    found.empty()
    found.aged = request.param != "bench"
    found.command = request.param == "aging_bench"  # a folder is open in one process
    return found


def job(queue, enqueued_at, **more):
    number = next(IDS)
    workflow = Workflow(f"{number:032x}", "single", link_mode=False)
    made = Job(workflow, "celery", queue, "order", f"job-{number}", enqueued_at, "web", f"{number:016x}", workflow.id)
    for name, value in more.items():
        setattr(made, name, value)
    workflow.jobs.append(made)
    return made


def run(of, start, seconds, outcome, *, attempt=1, published_at=None, due_at=None, next_ready_at=None, **more):
    made = Run(
        attempt, of.queue, published_at or of.enqueued_at, due_at, more.pop("redelivered", False),
        "workers", "box-1", "", "box-1:1", of.workflow.id, f"{next(IDS) + 2**32:016x}",
    )  # fmt: skip
    made.start, made.end, made.outcome, made.own = start, start + int(seconds * S), outcome, True
    made.next_ready_at = next_ready_at
    for name, value in more.items():
        setattr(made, name, value)
    of.runs.append(made)
    return of


def killed(of, start, seconds, outcome, **more):
    """A run whose process died, seen by its main process."""
    run(of, start, seconds, outcome, **more)
    made = of.runs[-1]
    made.own = False
    made.observed = Observed(
        start, made.end + S, outcome, "WorkerLostError", f"{next(IDS) + 2**33:016x}", of.workflow.id
    )
    return of


def history(now):
    """Return what happened on two queues, and who waits on each: its number and how many of them were overtaken."""
    late = now - 26 * HOUR
    jobs = [
        job("mail", late),  # since yesterday
        job("mail", now - 5 * S),
        job("mail", late, due_at=now - 2 * HOUR),  # with a countdown that is over
        job("mail", now - HOUR, due_at=now + DAY),
        job("mail", late, expires_at=now - 20 * HOUR),
        job("mail", late, expires_at=now + DAY),
        run(job("mail", late), now - 3 * HOUR, 5, "retry", next_ready_at=now - 2 * HOUR),
        run(job("mail", late), now - 3 * HOUR, 5, "retry", next_ready_at=now + DAY),
        run(job("mail", late), now - 3 * HOUR, 5, "retry"),  # replaced: nobody knows when it goes on
        killed(job("mail", now - HOUR), now - 3000 * S, 5, "retry", next_ready_at=now - 2994 * S),
        killed(job("mail", now - HOUR), now - 3000 * S, 5, "lost"),
        run(job("mail", late), late, 0, "cancelled"),
        # The only queue with a start in the last hour of a job that was ready long ago.
        run(job("mail", now - 30 * HOUR), now - 1800 * S, 5, "success"),
        job("pdf", now - 2 * HOUR),
        job("pdf", now - 61 * 60 * S),
        job("pdf", now - 20 * 60 * S),  # not for an hour yet
        run(job("pdf", now - 3 * HOUR), now - 2 * HOUR, 5, "retry", next_ready_at=now - 90 * 60 * S),
        run(job("pdf", now - 10 * 60 * S), now - 9 * 60 * S, 5, "success"),
        run(job("pdf", now - 6 * HOUR), now - 5 * HOUR, 5, "success"),  # before the last hour
        job("calm", now - 3 * HOUR),  # nothing starts there: its workers are away
    ]
    jobs[11].runs[0].start = None  # it never started
    return History(0, now, [made.workflow for made in jobs]), {"calm": (1, 0), "mail": (6, 0), "pdf": (4, 3)}


def everywhere(bench):
    """Return what each place says of the queues on which somebody waits: the number, and how many were overtaken."""
    jobs = [made for made in bench.expected().jobs if made.state == "waiting"]
    by_queue = {queue: [made for made in jobs if made.queue == queue] for queue in {made.queue for made in jobs}}
    places = {"model": {queue: (len(made), sum(map(overtaken, made))) for queue, made in by_queue.items()}}

    def ask(place, rows):
        places[place] = {row["queue"]: (row["waiting"], row.get("overtaken")) for row in rows if row["waiting"]}

    def sql(text):
        return bench.store.query(text).dicts()

    waiting = "countIf(state = 'waiting') AS waiting"
    ask("jobs", sql(f"SELECT queue, {waiting} FROM jobs GROUP BY queue"))
    ask("open_jobs", sql(f"SELECT queue, {waiting}, countIf(overtaken) AS overtaken FROM open_jobs GROUP BY queue"))
    ask(
        "queue_minutes",
        sql(
            "SELECT queue, sum(waiting) AS waiting FROM queue_minutes WHERE minute = toStartOfMinute(now()) GROUP BY queue"
        ),
    )
    named = bench.store.named
    ask("waiting_now", named("waiting_now").dicts())
    ask("queues", named("queues", seconds=60).dicts())
    ask(
        "open_jobs query",
        [{**row, "waiting": row["jobs"] * (row["state"] == "waiting")} for row in named("open_jobs").dicts()],
    )
    ask("back_pressure", [{**row, "waiting": row["waiting_now"]} for row in named("back_pressure").dicts()])
    ask("waiting_over_time", named("waiting_over_time", seconds=0, step_seconds=60).dicts())
    if bench.command:
        answer = CliRunner().invoke(cli, ["queues", "--json", "--since", "1m", "--url", bench.url])
        ask("otjobs queues", json.loads(answer.stdout))
    return places


def check(bench, truth):
    for place, found in everywhere(bench).items():
        counted = any(overtaken is not None for _, overtaken in found.values())
        assert found == {queue: (waits, lost if counted else None) for queue, (waits, lost) in truth.items()}, place


def test_every_place_says_the_same(each_bench):
    # Given retries that are due and in backoff, countdowns, jobs of yesterday, expired, cancelled, killed, redelivered
    told, truth = history(time.time_ns())
    each_bench.deliver([spans_of(told)])
    # Then each place has the same number, which is who can start and has not
    check(each_bench, truth)


def test_who_is_due_later_in_the_running_minute_does_not_wait_yet(bench):
    for _ in range(5):
        # Given a job and a retry that are due within the minute that runs
        while time.time() % 60 > 5:
            time.sleep(0.2)
        now = time.time_ns()
        due = now // (60 * S) * 60 * S + 55 * S
        jobs = (
            job("soon", now - 60 * S, due_at=due),
            run(job("soon", now - 60 * S), now - 50 * S, 5, "retry", next_ready_at=due),
        )
        bench.empty()
        bench.deliver([spans_of(History(0, now, [made.workflow for made in jobs]))])
        # When both are asked for before they are due, by the clock of the same query
        asked = (
            "SELECT (SELECT sum(waiting) FROM queue_minutes WHERE minute = toStartOfMinute(now())), "
            "(SELECT countIf(state = 'waiting') FROM jobs), toUnixTimestamp64Nano(now64(9)) < {due:Int64}"
        )
        minutes, states, early = bench.store.query(asked, {"due": due}).rows[0]
        if early:
            break
    # Then neither waits
    assert (minutes, states, early) == (0, 0, 1)
    # And both do once they are due
    while time.time_ns() <= due:
        time.sleep(0.2)
    assert bench.store.query(asked, {"due": due}).rows == [(2, 2, 0)]


def test_whoever_starts_waits_no_longer(each_bench):
    # Given stored rows of jobs that wait, also for a message to be delivered again, whose spans repeat no times
    now = time.time_ns()
    plain = run(job("mail", now - 26 * HOUR), now - 5 * HOUR, 5, "retry", next_ready_at=now - 4 * HOUR)
    again = killed(job("mail", now - 26 * HOUR), now - 5 * HOUR, 5, "retry", next_ready_at=now - 4 * HOUR)
    told = [spans_of(History(0, now, [made.workflow])) for made in (plain, again)]
    each_bench.deliver(told)
    if each_bench.aged:
        each_bench.age()
    check(each_bench, {"mail": (2, 0)})
    # When they start
    run(plain, now - 600 * S, 1, "success", attempt=2, published_at=now - 5 * HOUR + 5 * S, due_at=now - 4 * HOUR)
    run(again, now - 600 * S, 1, "success", attempt=2, redelivered=True)
    again.runs[-1].published_at = None
    each_bench.deliver([spans_of(History(0, now, [made.workflow]))[-1:] for made in (plain, again)])
    # Then nobody waits, and the stored minutes say so, too
    check(each_bench, {})
    assert each_bench.expected().jobs[0].state == each_bench.expected().jobs[1].state == "succeeded"
    if each_bench.aged:
        each_bench.age()
        check(each_bench, {})
