"""Every span of a scenario against the application's own log."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import harness
from parts import BUSY_NS

if TYPE_CHECKING:
    from application.library import Library
    from fleet import Fleet
    from harness import Story
    from otlp_receiver import Span

Event = dict[str, Any]
J = "application.jobs."
REPEATED = ("otjobs.label.", "otjobs.job.parent.", "otjobs.workflow.", "otjobs.trigger", "otjobs.group.")


def tree(story: Story) -> list[str]:
    """The spans as lines of an indented tree; without beacons, which only a busy machine's short jobs have."""
    spans = [span for span in story.spans if span.operation != "start"]
    return harness.tree(spans).replace(J, "").splitlines()


def ended(story: Story) -> list[Event]:
    return [event for event in story.log if event["what"] == "ended"]


class Truth:
    """The log of a scenario, by job."""

    def __init__(self, log: list[Event]) -> None:
        self.published: dict[str, Event] = {}
        self.started: dict[str, list[Event]] = defaultdict(list)
        self.ended: dict[str, list[Event]] = defaultdict(list)
        self.children: dict[tuple[str, int], set[str]] = defaultdict(set)
        for event in sorted(log, key=lambda event: event["at"]):
            if event["what"] == "started":
                self.started[event["job"]].append(event)
            elif event["what"] == "ended":
                self.ended[event["job"]].append(event)
        for event in log:
            if event["what"] == "published":
                self.published.setdefault(event["job"], event)
                if event["by"]:
                    self.children[event["by"], self.attempt_at(event["by"], event["began"])].add(event["job"])

    def attempt_at(self, job: str, moment: int) -> int:
        """Return the number of the attempt that ran at that time."""
        return sum(event["at"] <= moment for event in self.started[job])


def verify(story: Story, fleet: Fleet, *, kind: str = "", worker: str = "worker") -> Truth:
    """Compare the spans with the log: every job that `jobs.send` published, every attempt that ran to its end."""
    library = fleet.library
    truth = Truth(story.log)
    assert fleet.faults == []
    dispatches = {span.job: span for span in story.dispatches}
    assert len(dispatches) == len(story.dispatches), "one dispatch span per job"
    assert set(dispatches) == set(truth.published)
    executions: dict[str, list[Span]] = defaultdict(list)
    for span in story.executions:
        executions[span.job].append(span)
    for job, published in truth.published.items():
        dispatch = dispatches[job]
        verify_dispatch(dispatch, published, library)
        if published["by"]:
            verify_child(dispatch, published, truth, dispatches, executions)
        else:
            assert "otjobs.job.parent.id" not in dispatch.attributes
            assert "otjobs.workflow.type" not in dispatch.attributes
            assert dispatch["otjobs.trigger"] in ("manual", "request")
        spans = sorted(executions[job], key=lambda span: span["otjobs.job.attempt"])
        assert [span["otjobs.job.attempt"] for span in spans] == list(range(1, len(truth.started[job]) + 1))
        before: Span | None = None
        for span in spans:
            verify_attempt(span, before, dispatch, published, truth, library, kind, worker)
            before = span
    return truth


def verify_dispatch(span: Span, published: Event, library: Library) -> None:
    assert (span.kind, span.status, span.name) == ("PRODUCER", "UNSET", f"dispatch {published['type']}")
    assert span["messaging.system"] == library.system
    assert (span["messaging.operation.type"], span["messaging.operation.name"]) == ("send", "dispatch")
    assert (span["otjobs.job.type"], span["messaging.destination.name"]) == (published["type"], published["queue"])
    # The span covers the publication, and the message is stamped inside it
    assert published["began"] <= span.start <= span["otjobs.job.enqueued_at"] <= span.end <= published["at"]
    for name, field in (("due_at", "delay"), ("expires_at", "expires")):
        told = span.get(f"otjobs.job.{name}")
        if published[field] is None:
            assert told is None
        else:  # counted from inside the call, by clocks that know microseconds
            seconds = published[field] * 1e9
            assert published["began"] + seconds - 1000 <= told <= published["at"] + seconds
    assert "otjobs.job.attempt" not in span.attributes
    assert "otjobs.worker" not in span.attributes


def verify_child(
    span: Span, published: Event, truth: Truth, dispatches: dict[str, Span], executions: dict[str, list[Span]]
) -> None:
    above, number = published["by"], truth.attempt_at(published["by"], published["began"])
    assert (span["otjobs.job.parent.id"], span["otjobs.job.parent.attempt"]) == (above, number)
    assert "otjobs.trigger" not in span.attributes
    if above in dispatches:
        parent = dispatches[above]
        [run] = [run for run in executions[above] if run["otjobs.job.attempt"] == number]
        assert (span.trace, span.parent) == (run.trace, run.id)
        assert span["otjobs.job.parent.type"] == parent["otjobs.job.type"]
        assert span["otjobs.workflow.type"] == parent.get("otjobs.workflow.type", parent["otjobs.job.type"])
        started_at = parent.get("otjobs.workflow.started_at", parent["otjobs.job.enqueued_at"])
        assert span["otjobs.workflow.started_at"] == started_at


def verify_attempt(
    span: Span,
    before: Span | None,
    dispatch: Span,
    published: Event,
    truth: Truth,
    library: Library,
    kind: str,
    worker: str,
) -> None:
    job, number = span.job, span["otjobs.job.attempt"]
    started = truth.started[job][number - 1]
    assert (span.kind, span.name) == ("CONSUMER", f"execute {published['type']}")
    assert (span["messaging.operation.type"], span["messaging.operation.name"]) == ("process", "execute")
    # It repeats what dispatch knew
    for name in ("messaging.system", "otjobs.job.type", "otjobs.job.enqueued_at", "otjobs.job.expires_at"):
        assert span.get(name) == dispatch.get(name), name
    for name in dispatch.attributes:
        if name.startswith(REPEATED):
            assert span.get(name) == dispatch[name], name
    # Its place: below the dispatch, linked to it and to the attempt before
    assert (span.trace, span.parent) == (dispatch.trace, dispatch.id)
    assert span.links[0] == (dispatch.trace, dispatch.id)
    assert span["otjobs.worker"].startswith(worker)
    # Its times
    assert 0 <= started["at"] - span.start < BUSY_NS
    observed = span.get("otjobs.job.observed", False)
    if observed:
        assert "otjobs.job.dispatched" not in span.attributes
    else:
        assert span.end >= truth.ended[job][number - 1]["at"]
        assert span["otjobs.job.dispatched"] == len(truth.children[job, number])
        assert "otjobs.job.observed" not in span.attributes
        if library.cpu_kinds is None or (kind or library.kinds[0]) in library.cpu_kinds:
            assert 0 <= span["otjobs.job.cpu_seconds"] <= (span.end - span.start) / 1e9 + 0.01
        else:
            assert "otjobs.job.cpu_seconds" not in span.attributes
    received = span.get("otjobs.job.received_at", span.start)
    if number == 1:
        assert "otjobs.job.published_at" not in span.attributes
        assert span.get("otjobs.job.due_at") == dispatch.get("otjobs.job.due_at")
        assert dispatch["otjobs.job.enqueued_at"] <= received <= span.start
    elif span.get("otjobs.job.redelivered"):
        assert "otjobs.job.published_at" not in span.attributes
    else:
        assert before is not None
        verify_retry(span, before, published, received)
    due = span.get("otjobs.job.due_at")
    if due is not None:
        assert span.start >= due - library.resolution * 1e9
    assert ("otjobs.job.retry_ready_at" in span.attributes) == (span["otjobs.job.outcome"] == "retry")


def verify_retry(span: Span, before: Span, published: Event, received: int) -> None:
    """An attempt that the one before, or who saw it end, has published."""
    assert span.links[1] == (before.trace, before.id)
    at, due = span["otjobs.job.published_at"], span.get("otjobs.job.due_at")
    assert before.start < at <= received <= span.start
    if published["backoff"]:
        backoff = published["backoff"] * 1e9
        assert before.start + backoff < due <= at + backoff
    else:
        assert due is None or due <= at
    assert before["otjobs.job.retry_ready_at"] == max(at, due or 0)
