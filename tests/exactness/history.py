"""Random true histories: what really happened to the jobs of some workflows, known to nobody else.

A history is made from a seed and the present moment alone. Times are unix ns. Nothing in it happens after `horizon`, a
minute before now, and nothing is due or expires near now, so that the clock of the views and the model's cannot differ.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Literal

Shape = Literal["tree", "wide", "deep", "single"]
S = 1_000_000_000
DAY = 86_400 * S
QUEUES = ("default", "mail", "slow")
TYPES = ("order", "mail", "pdf", "import", "sync")
SYSTEMS = ("celery", "rq", "dramatiq")
PRODUCERS = ("web", "api")
WORKERS = (("workers", "box-1", "1.4"), ("workers", "box-2", "1.5"), ("batch", "box-2", ""))  # service, host, release
MAX_RUNS = 5


@dataclass(eq=False)
class Observed:
    """What another process reported of a run that it saw end."""

    start: int
    """When it thinks that the run began."""
    end: int
    outcome: str
    error_type: str
    span_id: str
    trace_id: str


@dataclass(eq=False)
class Run:
    """One delivery of a job to a worker; further redeliveries share an attempt number."""

    attempt: int
    queue: str
    published_at: int | None
    due_at: int | None
    redelivered: bool
    service: str
    host: str
    release: str
    worker: str
    trace_id: str
    span_id: str
    received_at: int | None = None
    start: int | None = None
    """None: it ended before it started."""
    end: int | None = None
    """None: it runs still. An end before the start is a clock that was set."""
    outcome: str = "running"
    error_type: str = ""
    dead_letter: bool = False
    cpu_seconds: float | None = None
    own: bool = False
    """The process that ran it wrote its execute span."""
    observed: Observed | None = None
    beacons: list[tuple[int, float]] = field(default_factory=list)
    """(moment of sending, seconds to the next one)"""
    children: list[Job] = field(default_factory=list)
    next_ready_at: int | None = None
    """When the attempt that it published, or that its message becomes, is ready; None: that is not told."""

    @property
    def seen(self) -> bool:
        """Whether any span tells of it."""
        return self.own or self.observed is not None or bool(self.beacons)


@dataclass(eq=False)
class Job:
    workflow: Workflow
    system: str
    queue: str
    type: str
    id: str
    enqueued_at: int | None
    """None: its producer is not instrumented."""
    producer: str
    dispatch_span_id: str
    dispatch_trace_id: str
    due_at: int | None = None
    expires_at: int | None = None
    max_attempts: int | None = None
    parent: Job | None = None
    parent_run: Run | None = None
    group_id: str = ""
    trigger: str = ""
    trigger_name: str = ""
    publish_error: bool = False
    """The publish raised, and yet the job is there."""
    broadcast: bool = False
    """Its message goes to every worker."""
    labels: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    again: Job | None = None
    """The same job, published under its id for the second time by a later attempt of its parent."""

    @property
    def root(self) -> Job:
        return self if self.parent is None else self.parent.root


@dataclass(eq=False)
class Workflow:
    id: str
    shape: Shape
    link_mode: bool
    roots: int | None = None
    """How many root jobs its composite has; None: no composite."""
    members_say: int | None = None
    """How many roots the members of the composite were told to be; None: nobody knew before."""
    composite: tuple[int, str] | None = None
    """When the composite had published, and its span, if it has one."""
    jobs: list[Job] = field(default_factory=list)


@dataclass(eq=False)
class Stray:
    """A span that makes no job: a failed publish, or nothing of ours."""

    at: int
    service: str
    trace_id: str
    span_id: str
    failed_publish: Job | None = None


@dataclass(eq=False)
class History:
    seed: int
    now: int
    workflows: list[Workflow] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)

    @property
    def jobs(self) -> list[Job]:
        return [job for workflow in self.workflows for job in workflow.jobs]


def generate(seed: int, now: int, workflows: int = 6) -> History:
    """Return the history of a seed, seen from the moment `now`."""
    return _Generator(seed, now).history(workflows)


class _Generator:
    def __init__(self, seed: int, now: int) -> None:
        self.rng = random.Random(seed)
        self.now = now
        self.horizon = now - 60 * S
        self.found = History(seed, now)
        self.budget = 0
        self.clean = False

    # What chance decides -----------------------------------------------------------------------------------------
    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def hexes(self, length: int) -> str:
        return f"{self.rng.getrandbits(4 * length) | 1:0{length}x}"

    def seconds(self, low: float, high: float) -> int:
        return int(self.rng.uniform(low, high) * S)

    def away_from_now(self, moment: int) -> int:
        return self.now + DAY if self.horizon < moment < self.now + 3600 * S else moment

    # Workflows ---------------------------------------------------------------------------------------------------
    def history(self, workflows: int) -> History:
        for _ in range(workflows):
            self.workflow()
        for _ in range(self.rng.randint(0, 3)):
            self.stray()
        return self.found

    def workflow(self) -> None:
        rng = self.rng
        midnight = (self.now // DAY - rng.randint(2, 5)) * DAY
        at = midnight + (-self.seconds(0, 20) if self.chance(0.25) else self.seconds(0, 86_000))
        if self.chance(0.25):  # still under way
            at = self.horizon - self.seconds(1, self.rng.choice((100, 3000)))
        shapes: tuple[Shape, ...] = ("tree", "wide", "deep", "single")
        shape = rng.choices(shapes, (6, 1, 1, 3))[0]
        workflow = Workflow(self.hexes(32), shape, link_mode=self.chance(0.2))
        self.found.workflows.append(workflow)
        self.clean = self.chance(0.6)
        self.budget = {"tree": 14, "wide": rng.randint(20, 60), "deep": rng.randint(8, 20), "single": 1}[shape]
        if self.chance(0.1):
            self.root(workflow, at, None)  # of a producer that is not instrumented
            return
        roots = rng.choices((1, 2, 3, 5), (6, 2, 2, 1))[0]
        if roots > 1 and self.chance(0.8):
            workflow.roots = workflow.members_say = roots
        trigger = rng.choice((("request", "/orders/{id}"), ("schedule", "nightly"), ("manual", ""), ("", "")))
        for _ in range(roots):
            self.root(workflow, at, trigger)
            at = min(at + self.seconds(0, 3), self.horizon)
        if workflow.roots and self.chance(0.5):
            workflow.composite = (at, self.hexes(16))
            # Nobody knew how many they would be, or some were skipped.
            workflow.members_say = rng.choice((roots, None, roots + 1))

    def root(self, workflow: Workflow, at: int, trigger: tuple[str, str] | None) -> None:
        labels = {"tenant": self.rng.choice(("acme", "globex"))} if self.chance(0.4) else {}
        job = self.job(workflow, at, self.rng.choice(PRODUCERS), labels)
        if trigger is None:
            job.enqueued_at = job.due_at = job.expires_at = job.max_attempts = None
            job.producer, job.labels = "", {}
        else:
            job.trigger, job.trigger_name = trigger
            job.group_id = f"group-{workflow.id[:6]}" if workflow.roots else ""
        self.run(job, at, depth=0)

    def child(self, parent: Job, run: Run, at: int, depth: int) -> None:
        labels = dict(parent.labels)
        if self.chance(0.1):
            labels["feature"] = "export"
        job = self.job(parent.workflow, at, run.service, labels)
        job.dispatch_trace_id = run.trace_id
        job.parent, job.parent_run = parent, run
        job.group_id = f"chord-{run.span_id[:4]}" if self.chance(0.2) else ""
        job.publish_error = self.chance(0.01)
        run.children.append(job)
        self.run(job, at, depth)

    def job(self, workflow: Workflow, at: int, producer: str, labels: dict[str, str]) -> Job:
        rng = self.rng
        system = SYSTEMS[0] if self.chance(0.8) else rng.choice(SYSTEMS)
        queue, kind = rng.choice(QUEUES), rng.choice(TYPES)
        job_id = self.hexes(16)
        if self.chance(0.7):  # libraries reuse small ids: unique within system and queue, and here also within a type
            taken = {j.id for j in workflow.jobs if (j.system, j.queue) == (system, queue) or j.type == kind}
            job_id = next(str(n) for n in range(1, 10_000) if str(n) not in taken)
        job = Job(workflow, system, queue, kind, job_id, at, producer, self.hexes(16), workflow.id, labels=labels)
        if self.chance(0.15):
            job.due_at = self.away_from_now(at + self.seconds(1, 1200))
        if self.chance(0.1):
            job.expires_at = self.away_from_now((job.due_at or at) + self.seconds(0.5, 600))
        if self.chance(0.5):
            job.max_attempts = MAX_RUNS
        workflow.jobs.append(job)
        self.budget -= 1
        return job

    def stray(self) -> None:
        found = Stray(self.now - self.seconds(120, 200_000), self.rng.choice(PRODUCERS), self.hexes(32), self.hexes(16))
        if self.chance(0.6):
            of = Workflow(found.trace_id, "single", link_mode=False)
            found.failed_publish = self.job(of, found.at, found.service, {})
        self.found.strays.append(found)

    # The runs of a job -------------------------------------------------------------------------------------------
    def run(self, job: Job, published: int, depth: int) -> None:
        """Let a job run, again and again while something sends it back."""
        rng = self.rng
        attempt, carried, redelivered, queue = 1, 1, False, job.queue
        times: tuple[int | None, int | None] = (job.enqueued_at, job.due_at)
        at = published
        if not self.clean and self.chance(0.04):
            return  # nobody ever picks it up
        for _ in range(MAX_RUNS):
            ready = max(at, times[1] or 0)
            start = ready + (self.seconds(0, 0.05) if self.chance(0.6) else self.seconds(0, 90))
            if self.chance(0.06):
                start = ready - self.seconds(0, 8)  # clocks differ
            if start > self.horizon:
                return  # it waits, or is due later
            late = job.expires_at is not None and start > job.expires_at
            if late and self.chance(0.4) and attempt == 1:
                return  # expired, and no worker saw it
            how = "expired" if late and attempt == 1 else self.ending(job, first=attempt == 1)
            run = self.new_run(job, attempt, queue, times, start, redelivered=redelivered)
            again = self.finish(job, run, start, how)
            if run.end is not None and max(run.end, start, run.observed.end if run.observed else 0) > self.horizon:
                self.keep_running(run, start)
                again = None
            job.runs.append(run)
            self.dispatch_children(job, run, depth)
            if again is None:
                return
            end = max(run.end or start, start)
            if again == "redelivered":
                attempt, redelivered, at = carried + 1, True, end + self.seconds(0.1, 60)
                run.next_ready_at = end
                continue  # the same message: its times stay those of its publication
            at = end - (self.seconds(0, 0.01) if self.chance(0.5) and end - start > S else 0)
            attempt = carried = attempt + 1
            redelivered = False
            due = self.away_from_now(at + self.seconds(1, 120)) if self.chance(0.7) else None
            if self.chance(0.15):
                queue = rng.choice(QUEUES)
            times = (None, None) if again == "copied" else (at, due)
            if int(run.span_id, 16) % 7:  # the others are replaced by a canvas, or of a client that does not tell
                run.next_ready_at = max(at, due or 0)
            if again == "copied" and due:
                at = due

    def ending(self, job: Job, *, first: bool) -> str:
        kinds = {
            "success": 55, "failure": 7, "retry": 14, "requeue": 3, "replaced": 1, "cancelled": 2, "rejected": 2,
            "cancelled early": 2, "rejected early": 2, "killed": 8, "ack lost": 2, "backwards": 2, "copied": 2,
        }  # fmt: skip
        if job.enqueued_at is None:  # a redelivery of its message would be another workflow
            for kind in ("requeue", "ack lost", "copied"):
                del kinds[kind]
        if self.clean:
            kinds["killed"] = 4
            kinds.pop("copied", None)
        if not first:
            kinds["expired"] = 1
        return self.rng.choices(list(kinds), list(kinds.values()))[0]

    def new_run(
        self, job: Job, attempt: int, queue: str, times: tuple[int | None, int | None], start: int, *, redelivered: bool
    ) -> Run:
        service, host, release = self.rng.choice(WORKERS)
        if self.chance(0.05) and job.producer:
            service, host = job.producer, "box-0"  # eager, or a process that does both
        trace = self.hexes(32) if job.workflow.link_mode and job.enqueued_at is not None else job.workflow.id
        if job.workflow.link_mode and job.enqueued_at is None and attempt > 1:
            trace = self.hexes(32)
        return Run(
            attempt, queue, None if redelivered else times[0], times[1], redelivered, service, host, release,
            f"{host}:{self.rng.randint(10, 99)}", trace, self.hexes(16),
            received_at=start - self.seconds(0, 5) if self.chance(0.3) else None,
        )  # fmt: skip

    def finish(self, job: Job, run: Run, start: int, how: str) -> str | None:
        """Let a run end; returns how the job goes on: redelivered, again, copied by a worker without us, or not."""
        rng = self.rng
        if how in ("expired", "cancelled early", "rejected early"):
            run.end, run.outcome, run.own = start, how.split(maxsplit=1)[0], True
            run.error_type = "Revoked" if how == "cancelled early" else ""
            run.dead_letter = how == "rejected early" and self.chance(0.5)
            return None
        long = self.chance(0.25)
        run.start, run.end = start, start + (self.seconds(1.2, 200) if long else self.seconds(0.001, 1))
        if long:
            self.add_beacons(run)
        if self.chance(0.5):
            run.cpu_seconds = round(rng.random(), 3)
        run.own = how != "copied"
        if how == "killed":
            return self.kill(job, run)
        if how == "copied":  # ran where we are not: no span, and its retry carries what attempt 1 carried
            run.beacons.clear()
            run.start, run.outcome = start, "retry"
            return "copied"
        error, run.outcome = {
            "success": ("", "success"), "ack lost": ("", "success"), "backwards": ("", "success"),
            "failure": ("ValueError", "failure"), "retry": ("TimeoutError", "retry"), "requeue": ("Requeued", "retry"),
            "replaced": ("", "retry"), "cancelled": ("Terminated", "cancelled"), "rejected": ("Reject", "rejected"),
        }[how]  # fmt: skip
        run.error_type = error
        run.dead_letter = run.outcome in ("failure", "rejected") and self.chance(0.5)
        if how == "backwards":
            run.beacons.clear()
            run.end = start - self.seconds(0.001, 2)
        return {"ack lost": "redelivered", "requeue": "redelivered", "retry": "again", "replaced": "again"}.get(how)

    def kill(self, job: Job, run: Run) -> str | None:
        """Kill the process of a run: seen by its main process, or by nobody, and perhaps redelivered."""
        assert run.end is not None
        seen = self.chance(0.9 if self.clean else 0.6)
        again = self.chance(0.6) and job.enqueued_at is not None
        run.outcome, run.own, run.cpu_seconds = "lost", False, None
        if not seen:
            return "redelivered" if again else None
        outcome = "retry" if again else self.rng.choice(("lost", "failure", "cancelled"))
        trace = self.hexes(32) if job.workflow.link_mode else run.trace_id
        begun = (run.start or 0) - self.seconds(0, 0.05)
        run.observed = Observed(begun, run.end + self.seconds(0, 2), outcome, "WorkerLostError", self.hexes(16), trace)
        run.outcome = outcome
        if self.chance(0.3) and not again:  # the child unwinds and reports for itself
            run.own, run.outcome, run.error_type = True, "failure", "SystemExit"
        elif self.chance(0.03) and again is False and job.enqueued_at is not None:
            return "redelivered"  # a broker that thinks otherwise
        return "redelivered" if again else None

    def add_beacons(self, run: Run) -> None:
        assert run.start is not None
        assert run.end is not None
        interval = self.rng.choice((0.5, 5.0, 30.0))
        sent = run.start + S
        while sent < run.end and len(run.beacons) < 4:
            run.beacons.append((sent, interval))
            sent += int(interval * S)

    def keep_running(self, run: Run, start: int) -> None:
        """Nothing of its end has happened yet."""
        run.start, run.end, run.outcome, run.own, run.observed = start, None, "running", False, None
        run.error_type, run.dead_letter, run.cpu_seconds = "", False, None
        run.beacons.clear()
        if start + S < self.horizon and self.chance(0.8):
            run.beacons.append((start + S, 7200.0))

    def publish_again(self, parent: Job, run: Run, end: int) -> None:
        """Perhaps dispatch what an earlier attempt dispatched, under the same id; it runs once more, and well."""
        before = [child for r in parent.runs if r.attempt < run.attempt and r.own for child in r.children]
        found = [c for c in before if c in parent.workflow.jobs and c.runs and not (c.publish_error or c.again)]
        if not found or not run.own or run.end is None or not self.chance(0.5):
            return
        child = self.rng.choice(found)
        at = (run.start or end) + int(self.rng.random() * (end - (run.start or end)))
        if child.enqueued_at is None or at <= child.enqueued_at or child.runs[0].attempt != 1:
            return
        again = replace(
            child, enqueued_at=at, producer=run.service, parent_run=run, dispatch_span_id=self.hexes(16),
            dispatch_trace_id=run.trace_id, due_at=None, expires_at=None, runs=[],
        )  # fmt: skip
        start = min(at + self.seconds(0, 5), self.horizon - S)
        service, host, release = self.rng.choice(WORKERS)
        trace = self.hexes(32) if parent.workflow.link_mode else parent.workflow.id
        other = Run(1, child.queue, at, None, False, service, host, release, f"{host}:7", trace, self.hexes(16))  # noqa: FBT003
        other.start, other.end, other.outcome, other.own = start, start + self.seconds(0.001, 1), "success", True
        again.runs.append(other)
        run.children.append(again)
        child.again = again

    def dispatch_children(self, job: Job, run: Run, depth: int) -> None:
        if run.start is None or (run.outcome == "retry" and not run.seen):
            return
        end = self.horizon if run.end is None else max(run.end, run.start)
        self.publish_again(job, run, end)
        shape = job.workflow.shape
        count = {
            "single": 0,
            "wide": self.budget if depth == 0 and self.chance(0.8) else 0,
            "deep": 1,
            "tree": self.rng.choices((0, 1, 2, 4), (5, 3, 2, 1))[0] if depth < 4 else 0,
        }[shape]
        for _ in range(min(count, self.budget)):
            if self.budget <= 0:
                return
            self.child(job, run, run.start + int(self.rng.random() * (end - run.start)), depth + 1)
