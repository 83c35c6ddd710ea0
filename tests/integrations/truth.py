"""Every span of a scenario against the application's own log, whatever the library."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from harness import Story
from parts import BUSY_NS

CONTEXT = {"messaging.system", "messaging.operation.type", "messaging.operation.name", "messaging.destination.name"}
CONTEXT |= {"messaging.message.id", "otjobs.job.type", "otjobs.job.enqueued_at"}


def unix_ns(iso: str) -> int:
    moment = datetime.fromisoformat(iso)
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


class Truth:
    """The log of a scenario, by job."""

    def __init__(self, log: list[dict]) -> None:
        self.moments = defaultdict(lambda: defaultdict(list))
        self.children = defaultdict(set)
        for event in log:
            if "job" in event:
                self.moments[event["job"]][event["what"]].append(event)
            if event["what"] == "published" and event["by"] not in ("", event["job"]):
                self.children[event["by"], event["by_retries"]].add(event["job"])
        for moments in self.moments.values():
            # A worker may be faster with a retry than the producer with its own line.
            moments["published"].sort(key=lambda event: (event["by"] == event["job"], event["at"]))
            moments["publishing"].sort(key=lambda event: event["at"])

    def jobs(self):
        return [(job, moments) for job, moments in self.moments.items() if moments["published"]]


def verify(
    story: Story, *, system: str = "celery", worker: str | None = None, received: bool = True, cpu: bool = True
) -> Truth:
    """Compare every span with the log; jobs whose code logs nothing are compared as far as the log goes."""
    truth = Truth(story.log)
    dispatches = {s.job: s for s in story.dispatches}
    assert len(dispatches) == len(story.dispatches), "one dispatch span per job"
    assert set(dispatches) == {job for job, _ in truth.jobs()}
    executions = defaultdict(list)
    for span in story.executions:
        executions[span.job].append(span)
    root_of = {}
    for job, moments in truth.jobs():
        first = moments["published"][0]
        dispatch = dispatches[job]
        _verify_dispatch(dispatch, moments, system)
        if first["by"]:
            parent = root_of.get(first["by"])
            assert dispatch["otjobs.job.parent.id"] == first["by"]
            assert dispatch["otjobs.job.parent.type"] == first["by_type"]
            above = [s for s in executions[first["by"]] if s.id == dispatch.parent]
            assert len(above) == 1, f"the dispatch of {job} is under the attempt that published it"
            assert dispatch["otjobs.job.parent.attempt"] == above[0]["otjobs.job.attempt"]
            if parent is not None:
                root_of[job] = parent
                assert dispatch.get("otjobs.workflow.type", "") == parent["otjobs.job.type"]
                assert dispatch["otjobs.workflow.started_at"] == parent["otjobs.job.enqueued_at"]
            assert "otjobs.trigger" not in dispatch.attributes
        else:
            root_of[job] = dispatch
            assert "otjobs.job.parent.id" not in dispatch.attributes
            assert dispatch["otjobs.trigger"] in ("manual", "request", "schedule")
            assert "otjobs.workflow.type" not in dispatch.attributes
        _verify_attempts(
            job,
            moments,
            dispatch,
            sorted(executions[job], key=lambda s: s["otjobs.job.attempt"]),
            truth,
            worker,
            received,
            cpu,
        )
    return truth


def _verify_dispatch(dispatch, moments, system):
    first = moments["published"][0]
    assert (dispatch.kind, dispatch.status) == ("PRODUCER", "UNSET")
    assert dispatch.name == f"dispatch {first['type']}"
    assert dispatch["messaging.system"] == system
    assert (dispatch["messaging.operation.type"], dispatch["messaging.operation.name"]) == ("send", "dispatch")
    assert dispatch["otjobs.job.type"] == first["type"]
    # The span covers the publication, and the message is stamped when everything else is done
    assert dispatch.start <= moments["publishing"][0]["at"] <= dispatch["otjobs.job.enqueued_at"]
    assert dispatch["otjobs.job.enqueued_at"] <= first["at"] <= dispatch.end
    for name, field in (("due_at", "eta"), ("expires_at", "expires")):
        expected = unix_ns(first[field]) if first[field] else None
        assert dispatch.get(f"otjobs.job.{name}") == expected
    if first["group"]:
        assert dispatch["otjobs.group.id"] == first["group"]
    assert "otjobs.job.attempt" not in dispatch.attributes
    assert "otjobs.worker" not in dispatch.attributes


def _verify_attempts(job, moments, dispatch, spans, truth, worker, received, cpu):
    started, ended = moments["started"], moments["ended"]
    if not started:
        return
    assert [s["otjobs.job.attempt"] for s in spans] == list(range(1, len(started) + 1)), f"attempts of {job}"
    before = None
    for number, (span, begin, end) in enumerate(zip(spans, started, ended, strict=True), 1):
        assert span.kind == "CONSUMER"
        assert (span["messaging.operation.type"], span["messaging.operation.name"]) == ("process", "execute")
        assert span.name == f"execute {dispatch['otjobs.job.type']}"
        # It repeats what dispatch knew
        for name in (
            "messaging.system",
            "otjobs.job.type",
            "otjobs.job.enqueued_at",
            "otjobs.job.max_attempts",
            "otjobs.job.expires_at",
        ):
            assert name == "otjobs.job.max_attempts" or span.get(name) == dispatch.get(name), name
        for name in dispatch.attributes:
            if name.startswith(
                ("otjobs.label.", "otjobs.job.parent.", "otjobs.workflow.", "otjobs.trigger", "otjobs.group.")
            ):
                assert span.get(name) == dispatch[name], name
        # Its place: under the dispatch, linked to it and to the attempt before
        assert span.parent == dispatch.id
        assert span.trace == dispatch.trace
        assert span.links[0] == (dispatch.trace, dispatch.id)
        if before is not None:
            assert span.links[1] == (before.trace, before.id)
        # Its times
        assert span.start <= begin["at"]
        assert span.end >= end["at"]
        assert begin["at"] - span.start < BUSY_NS
        publication = moments["published"][number - 1] if len(moments["published"]) >= number else None
        if number == 1:
            assert "otjobs.job.published_at" not in span.attributes
            assert span.get("otjobs.job.due_at") == dispatch.get("otjobs.job.due_at")
        elif publication is not None:
            about = moments["publishing"][number - 1]["at"]
            assert about <= span["otjobs.job.published_at"] <= publication["at"]
            assert span.get("otjobs.job.due_at") == (unix_ns(publication["eta"]) if publication["eta"] else None)
        if before is not None:
            # The attempt before told when this one would be ready, unless another job was to publish it
            again = max(span.get("otjobs.job.published_at", 0), span.get("otjobs.job.due_at", 0))
            if span.get("otjobs.job.redelivered"):
                again = before.end
            elif publication is not None and publication["by"] != job:
                again = None
            assert before.get("otjobs.job.retry_ready_at") == again
        assert "otjobs.job.retry_ready_at" not in span.attributes or span["otjobs.job.outcome"] == "retry"
        if received:
            assert (
                span.get("otjobs.job.published_at", dispatch["otjobs.job.enqueued_at"])
                <= span["otjobs.job.received_at"]
                <= span.start
            )
        # Where and how
        assert span["otjobs.worker"] == (begin["hostname"] if worker is None else worker)
        if cpu:
            assert 0 <= span["otjobs.job.cpu_seconds"] <= (span.end - span.start) / 1e9 + 0.01
        else:
            assert "otjobs.job.cpu_seconds" not in span.attributes
        assert span["otjobs.job.dispatched"] == len(truth.children[job, begin["retries"]]), (
            f"children of {job} #{number}"
        )
        assert "otjobs.job.observed" not in span.attributes
        before = span
