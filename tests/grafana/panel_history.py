"""A made-up past of three queues, the spans it leaves, and what is true of it, computed without SQL.

Every attempt's moments are kept as they were meant; the figures of the panels are recomputed from them by hand.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

from otjobs.testing import job_span_row

MS = 1_000_000
S = 1_000_000_000
BAD = ("failure", "expired", "rejected", "lost")
GOOD_OR_BAD = ("success", "cancelled", *BAD)
STATES = {"success": "succeeded", "failure": "failed", "retry": "retrying"}


@dataclass
class Attempt:
    number: int
    published: int | None
    due: int | None = None
    started: int | None = None
    ended: int | None = None
    outcome: str = ""
    error: str = ""
    beacon: int | None = None  # the last sign of life, where there is one
    next_ready: int | None = None  # of a retry: when the next attempt is ready, where that is told

    @property
    def ready(self):
        return None if self.published is None else max(self.published, self.due or 0)

    @property
    def wait(self):
        return None if self.started is None or self.ready is None else max(0, self.started - self.ready) / S

    @property
    def run(self):
        return None if self.started is None or self.ended is None else max(0, self.ended - self.started) / S


@dataclass
class Job:
    id: str
    system: str
    queue: str
    type: str
    trace: str
    enqueued: int | None
    attempts: list[Attempt]
    parent: Job | None = None
    children: list[Job] = field(default_factory=list)
    expires: int | None = None
    dead_letter: bool = False

    @property
    def key(self):
        return self.system, self.queue, self.type

    @property
    def last(self):
        return self.attempts[-1]

    def state(self, now):
        if self.last.next_ready is not None:
            return "waiting" if self.last.next_ready <= now else "retrying"
        if self.last.outcome:
            return STATES.get(self.last.outcome, self.last.outcome)
        return "scheduled" if self.last.ready is not None and self.last.ready > now else "waiting"

    @property
    def waiting_since(self):
        return self.last.ready if self.last.next_ready is None else self.last.next_ready

    @property
    def ended(self):
        return None if self.last.outcome in ("", "running", "retry") else self.last.ended

    @property
    def run(self):
        runs = [attempt.run for attempt in self.attempts if attempt.run is not None]
        return sum(runs) if runs else None


class History:
    """About `size` root jobs and their children in the `minutes` before `now` (unix ns)."""

    def __init__(self, *, seed, size, now, minutes=50, failing=0.12):
        self._random = random.Random(seed)
        self._ids = itertools.count(1)
        self.now = now
        self._failing = failing
        self.jobs = []
        for _ in range(size):
            at = now - self._whole(minutes * 60 * S)
            root = self._job(f"{self._random.getrandbits(128):032x}", at, None)
            if root.last.outcome == "success" and root.enqueued is not None:
                for _ in range(self._random.choice((0, 0, 1, 3))):
                    moment = root.last.started + self._whole(max(MS, root.last.ended - root.last.started))
                    root.children.append(self._job(root.trace, moment, root))

        # One that is sure to be there: open, and nobody knows when it was dispatched.
        lone = Job(
            str(next(self._ids)),
            "rq",
            "mails",
            "mail",
            f"{self._random.getrandbits(128):032x}",
            None,
            [Attempt(1, None)],
        )
        self._still_open(lone, lone.last)
        self.jobs.append(lone)

    def _whole(self, bound):
        """Return a random number of ns below `bound`, in whole microseconds as Python's datetimes are."""
        return self._random.randrange(0, bound, 1000)

    def _job(self, trace, at, parent):
        kind, pick = self._random.random(), self._random
        system, queue, types = pick.choice(
            (
                ("celery", "orders", ("order", "charge")),
                ("celery", "mails", ("mail",)),
                ("rq", "mails", ("mail", "o'clock")),
            )
        )
        job = Job(str(next(self._ids)), system, queue, pick.choice(types), trace, at, [], parent)
        if parent is not None:
            kind = 0.05 + kind * 0.5  # children: those that end
        first = Attempt(1, at, due=at + 20 * S if pick.random() < 0.1 else None)
        job.attempts.append(first)
        start = first.ready + self._whole(int(10 ** pick.uniform(6, 10.3)))
        end = start + self._whole(int(10 ** pick.uniform(6, 10)))
        if parent is None and kind < 0.03:
            job.enqueued = first.published = first.due = None  # the producer is not traced
        if end >= self.now - 40 * S or kind > 0.97:
            self._still_open(job, first)
        elif kind < 0.6:
            failed = pick.random() < self._failing
            first.started, first.ended, first.outcome = start, end, "failure" if failed else "success"
            first.error = pick.choice(("Timeout", "Refused")) if failed else ""
        elif kind < 0.8:
            first.started, first.ended, first.outcome, first.error = start, end, "retry", "Timeout"
            self._second(job, end)
        elif kind < 0.85:
            first.started = first.ended = None
            first.ended, first.outcome = start, pick.choice(("expired", "cancelled", "rejected"))
        elif kind < 0.9:
            first.started, first.ended, first.outcome, first.error = start, end, "rejected", "Poison"
            job.dead_letter = True
        elif kind < 0.94 and end < self.now - 300 * S:
            # Killed: its last sign of life is what is known of the end.
            first.started, first.ended, first.beacon, first.outcome = start, end, end, "lost"
        else:
            first.ended, first.outcome = first.ready + 30 * S, "expired"  # unseen by anybody
            job.expires = first.ended
        self.jobs.append(job)
        return job

    def _second(self, job, end):
        pick = self._random
        due = end + 2 * S
        start = due + self._whole(2 * S)
        finish = start + self._whole(5 * S)
        # One in four is not told, one in four due later, if nothing has come of it.
        told = (due, due, None, self.now + 3600 * S)[int(job.id) % 4]
        job.last.next_ready = told
        if finish < self.now - 40 * S and pick.random() < 0.9:
            failed = pick.random() < 0.3
            job.last.next_ready = due
            job.attempts.append(
                Attempt(
                    2, end + MS, due, start, finish, "failure" if failed else "success", "Timeout" if failed else ""
                )
            )

    def _still_open(self, job, first):
        pick = self._random
        first.due = None if pick.random() < 0.8 or first.published is None else self.now + 3600 * S
        running = (first.due is None and pick.random() < 0.5) or job.enqueued is None
        if running:
            first.started = (first.ready or self.now - 20 * S) + MS
            first.beacon, first.outcome = max(self.now - 5 * S, first.started), "running"

    # What the processes would have sent

    def spans(self):
        """Return every span as a row of `otel_traces`, twice and shuffled."""
        rows = [span for job in self.jobs for span in _spans(job)] * 2
        self._random.shuffle(rows)
        return rows

    @staticmethod
    def spans_of(job):
        return _spans(job)

    def store(self, store):
        """Insert the spans in batches of any size."""
        rows = self.spans()
        while rows:
            size = self._random.randrange(1, 700)
            store.insert_spans(rows[:size])
            rows = rows[size:]

    # What is true

    def events(self, start_ns, end_ns, keep=lambda job: True):
        """Give (moment, what, job) of everything that happened in the range, both ends included."""
        for job in filter(keep, self.jobs):
            moments = [(job.enqueued, "dispatched")]
            for attempt in job.attempts:
                moments += [(attempt.started, "started"), (attempt.ended, attempt.outcome)]
            yield from ((at, what, job) for at, what in moments if at is not None and start_ns <= at <= end_ns)

    def attempts(self, keep=lambda job: True):
        return [attempt for job in filter(keep, self.jobs) for attempt in job.attempts]

    def open_workflows(self):
        """Return how many workflows have a job that has not ended; every job is known here."""
        return len({job.trace for job in self.jobs if job.ended is None})


def quantile(values, q):
    """Return the quantile by linear interpolation between the neighbours, both ends included."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * q
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


_span_ids = itertools.count(1)


def _row(job, operation, start, end, *, status="Unset", **told):
    parent = job.parent
    if parent is not None:
        told |= {"parent_id": parent.id, "parent_type": parent.type, "parent_attempt": parent.last.number}
        told |= {"workflow_type": parent.type, "workflow_started_at": parent.enqueued}
    named = {"trace_id": job.trace, "job_id": job.id, "job_type": job.type, "queue": job.queue, "system": job.system}
    own = {"span_id": f"{next(_span_ids):016x}", "service": "worker", "status": status}
    resource = {"service.version": "1.2.3", "host.name": "h1"}
    told |= {"enqueued_at": job.enqueued, "expires_at": job.expires}
    row = job_span_row(operation, start, end, **named, **own, resource=resource, **told)
    row |= {"Events.Timestamp": [end], "Events.Name": ["seen"], "Events.Attributes": [{"k": "v"}]}
    row |= {"Links.TraceId": ["f" * 32], "Links.SpanId": ["e" * 16], "Links.TraceState": [""], "Links.Attributes": [{}]}
    return tuple(row.values())


def _spans(job):
    rows = []
    first = job.attempts[0]
    # The dispatch of every seventh job never arrives, where something else tells of the job.
    told_otherwise = bool(first.outcome) and not (first.outcome == "expired" and job.expires)
    if job.enqueued is not None and not (told_otherwise and int(job.id) % 7 == 0):
        rows.append(_row(job, "send", job.enqueued, job.enqueued + MS, due_at=first.due))
    for attempt in job.attempts:
        times = {"attempt": attempt.number, "due_at": attempt.due}
        if attempt.number > 1:
            times["published_at"] = attempt.published
        if attempt.beacon is not None:
            rows.append(_row(job, "receive", attempt.started, attempt.beacon, beacon_interval=30, **times))
        elif attempt.outcome and not (attempt.outcome == "expired" and job.expires):
            start = attempt.ended if attempt.started is None else attempt.started
            times |= {"outcome": attempt.outcome, "error_type": attempt.error or None}
            times |= {"dispatched": len(job.children) if attempt is job.last else 0, "worker": "w1"}
            times |= {"retry_ready_at": attempt.next_ready}
            times |= {"dead_letter": True if job.dead_letter else None}
            status = "Error" if attempt.outcome in ("failure", "retry", "rejected") else "Unset"
            rows.append(_row(job, "process", start, attempt.ended, status=status, **times))
    return rows
