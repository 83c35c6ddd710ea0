"""A queue library's message: where the carrier is in it, and which attempt of which job it describes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import baggage, trace

from otjobs import propagation
from otjobs.carrier import Carrier, decode, job_from
from otjobs.config import settings
from otjobs.given import count
from otjobs.next_attempt import next_carrier
from otjobs.traceparent import parse_traceparent
from otjobs.untraced import untraced_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from opentelemetry.context import Context

    from otjobs.job import Job

CARRIER: Final = "otjobs"
"""The field of a message that has the carrier of its job."""
UNTRACED: Final = "otjobs_passing"
"""The carrier of an untraced job: that of the job above it."""
W3C: Final = ("traceparent", "tracestate", "baggage")


def beside_carrier() -> tuple[str, ...]:
    """Return the fields that stand beside the carrier: the W3C ones, and those of the application's propagators."""
    return (*W3C, *(propagation.fields() - set(W3C))) if propagation.others() else W3C


def put(fields: MutableMapping[str, Any], carrier: dict[str, str], *, name: str = CARRIER) -> None:
    """Write the carrier into a message, with the fields of other propagators beside it, for other workers.

    What the user gave stays. A message that was published before has an older carrier, which tells what the user gave.

    Args:
        fields: those of the message; a library that keeps only texts writes them as JSON.
        carrier: the new carrier.
        name: the carrier's field.
    """
    old, passed = fields.pop(CARRIER, None), fields.pop(UNTRACED, None)
    fields[name] = carrier
    beside = beside_carrier()
    if fields.keys().isdisjoint(beside):  # as most messages: the user gave nothing
        for key in beside:
            if key in carrier:
                fields[key] = carrier[key]
        return
    before = old or passed
    if not isinstance(before, dict):
        before = {}
    given = {key for key in beside if key in fields and fields[key] != before.get(key)}
    if "traceparent" in given:
        given.add("tracestate")  # ours would not belong to it
    for key in beside:
        if key in given:
            continue
        if key in carrier:
            fields[key] = carrier[key]
        else:
            fields.pop(key, None)


def _beside(field: Callable[[str], Any]) -> dict[str, Any]:
    """Return what stands beside the carrier, but for what is no text: a field of the user's own that has that name."""
    return {key: value for key in beside_carrier() if isinstance(value := field(key), (str, bytes))}


def given_context(fields: object, context: Context) -> Context:
    """Return the context that the user put into a message, where no span is current; else the current one.

    Without a span of its own, a process that relays what others wrote (an outbox, a webhook) continues their traces.
    """
    if not isinstance(fields, dict) or "traceparent" not in fields:
        return context
    if trace.get_current_span(context).get_span_context().is_valid:
        return context
    given = parse_traceparent(fields["traceparent"], fields.get("tracestate"))
    if given is None:
        return context
    carrier = decode(_beside(fields.get))
    if not baggage.get_all(context):
        for key, value in baggage.get_all(carrier.context).items():
            context = baggage.set_baggage(key, value, context)
    return trace.set_span_in_context(trace.NonRecordingSpan(given), context)


@dataclasses.dataclass(slots=True)
class Message:
    """One message, in the process that runs its job or sees it end. The functions are called when needed.

    Args:
        job_type: the name of the code that runs.
        field: returns a field of the message by name, None where there is none.
        known: given the carrier, returns what the library says, in the names of `Job`; that wins over the carrier.
        otherwise: what it says only where the carrier says nothing: by name, such as `group_id` and `max_attempts`.
        times: what it says only where the carrier is not of this publication: `due_at` and `expires_at`.
    """

    job_type: str
    field: Callable[[str], Any]
    known: Callable[[Carrier], dict[str, Any]]
    otherwise: Mapping[str, Callable[[], Any]] = dataclasses.field(default_factory=dict)
    times: Callable[[], Mapping[str, Any]] = dict

    @property
    def excluded(self) -> bool:
        """True where the job is left untraced, by the type of its first publication: another may go on as it."""
        if not settings().excluded_types:
            return False
        carried = self.field(CARRIER)
        found = carried.get("type") if isinstance(carried, dict) else None
        return settings().excludes(found if isinstance(found, str) and found else self.job_type)

    def untraced_context(self) -> Context | None:
        """Return the context in which an untraced job runs: what it dispatches belongs to the job above."""
        carried = self.field(UNTRACED) or self.field(CARRIER)
        return None if carried is None else untraced_context(carried)

    def attempt(self) -> tuple[Carrier, Job]:
        """Return the carrier, and the attempt that it and the library describe together."""
        carrier = decode(self.field(CARRIER))
        if not carrier.known:  # a foreign trace goes on; its carrier knows nothing of attempts
            carrier = decode(_beside(self.field) or None)
            carrier.known = False
        known = dict(self.known(carrier))
        if not carrier.known or (count(known.get("attempt"), "attempt") or 1) > carrier.attempt:
            known.update(self.times())  # published by somebody who is not instrumented
        for key, find in self.otherwise.items():
            if key not in carrier.fields:
                known[key] = find()
        return carrier, job_from(carrier, known)

    def following(self, due_at: int | None = None) -> dict[str, str]:
        """Return the carrier of the next attempt, where the application has an ended job run once more."""
        carrier, job = self.attempt()
        return next_carrier(job, carrier.dispatch, carrier.context, due_at=due_at, identity=False)
