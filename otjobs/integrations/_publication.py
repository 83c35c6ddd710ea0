"""One publication of a job: whose it is, the carrier that its message takes, and what becomes of it."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import context as otel_context

from otjobs import clock
from otjobs.config import settings
from otjobs.dispatch import Dispatch
from otjobs.execution import running_here
from otjobs.faults import guard, note
from otjobs.integrations._message import UNTRACED, given_context, put
from otjobs.tracing import active
from otjobs.untraced import untraced_carrier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

    from opentelemetry.context import Context

    from otjobs.execution import Execution
    from otjobs.job import Job


class Outgoing(NamedTuple):
    """A message that is about to be published."""

    fields: MutableMapping[str, Any]
    job: Job
    """As published."""
    again: bool = False
    """The message was published before (its delay is over, a scheduler moves it): nothing in it changes."""
    following: dict[str, str] | None = None
    """The carrier of the next attempt that the message is, where only the library knows of it (a requeue)."""


_together: ContextVar[list[Publication] | None] = ContextVar("otjobs-together", default=None)
"""The publications that leave with one command."""
_under_way: ContextVar[tuple[tuple[object, Publication], ...]] = ContextVar("otjobs-under-way", default=())
"""The publications around this one, each with its library's own object."""


class Publication:
    """One publication, from before there is a message: whose it is, and what became of it.

    For a library whose message exists when the publication begins, `publishing` is all that is needed.
    """

    __slots__ = ("began_at", "carrier", "decided", "dispatch", "retried")

    def __init__(self) -> None:
        self.began_at = clock.source()
        self.decided = False
        """True once there was a message."""
        self.dispatch: Dispatch | None = None
        """The span of a first publication."""
        self.carrier: dict[str, str] | None = None
        """The carrier of a next attempt."""
        self.retried: Execution | None = None
        """The attempt that publishes its own next one."""

    def carry(
        self,
        fields: MutableMapping[str, Any],
        job: Job,
        *,
        again: bool = False,
        following: dict[str, str] | None = None,
        current: bool = True,
    ) -> None:
        """Decide whose publication this is, and put the carrier of that into the message.

        Args:
            fields: those of the message.
            job: the job as published.
            again: as in `Outgoing`.
            following: as in `Outgoing`.
            current: make the dispatch span current until the end.
        """
        if not active():
            return
        self.decided = True
        context = otel_context.get_current()
        own = running_here(job.system, job.job_id, context) if context else None
        if own is not None:  # a retry: the next attempt of the job that runs here, under its original dispatch
            self.retried, self.carrier = own, own.next_carrier(due_at=job.due_at, identity=False)
            put(fields, self.carrier)
        elif following is not None:
            self.carrier = following
            put(fields, following)
        elif not again:
            self._first(fields, job, given_context(fields, context), current=current)

    def _first(self, fields: MutableMapping[str, Any], job: Job, context: Context, *, current: bool) -> None:
        if settings().excludes(job.job_type):
            put(fields, untraced_carrier(context), name=UNTRACED)
            return
        self.dispatch = Dispatch(job, context=context, identity=False, started_at=self.began_at)
        put(fields, self.dispatch.carrier)
        if current:
            self.dispatch.activate()

    def fail_early(self, fields: object, job: Job) -> None:
        """Start the span of a publication that fails before there is a message.

        Args:
            fields: those that the user gave for the message.
            job: the job as far as it is known.
        """
        context = given_context(fields, otel_context.get_current())
        if not settings().excludes(job.job_type) and running_here(job.system, job.job_id, context) is None:
            self.dispatch = Dispatch(job, context=context, identity=False, started_at=self.began_at)

    def leaves(self) -> None:
        """Say in the message that it leaves now: what came before (connecting, declaring) is no wait in a queue."""
        if self.dispatch is not None:
            self.dispatch.stamp()
        elif self.carrier is not None:
            self.carrier["published_at"] = str(clock.source())
            if self.retried is not None:
                self.retried.note_publication(self.carrier)

    def end(self, error: BaseException | None = None) -> None:
        """End the publication; with an error it failed, and there is no job."""
        try:
            if self.dispatch is not None:
                self.dispatch.end(error)
            elif self.retried is not None and error is None:
                self.retried.set_outcome("retry")
        except Exception as fault:
            note("a publication could not be ended", fault)


def under_way(message: object) -> Publication | None:
    """Return the publication of this message that this thread or task is in the middle of.

    Args:
        message: the library's own object, as `publishing` was given it.
    """
    return next((publication for published, publication in _under_way.get() if published is message), None)


@contextmanager
def publishing(read: Callable[[], Outgoing | None], message: object = None) -> Iterator[Publication]:
    """Trace one publication: a first one, the next attempt of the job that runs here, or that of an untraced job.

    Args:
        read: returns the message; None where the call publishes nothing itself.
        message: the library's own object, where one of its methods calls another to publish: the outermost counts.
    """
    around = None if message is None else under_way(message)
    if around is not None:
        yield around
        return
    publication, batch, token = Publication(), _together.get(), None
    try:
        with guard("a publication could not be traced"):
            outgoing = read()
            if outgoing is not None:
                fields, job, again, following = outgoing
                publication.carry(fields, job, again=again, following=following, current=batch is None)
                if message is not None:
                    token = _under_way.set(((message, publication), *_under_way.get()))
        yield publication
    except BaseException as error:
        publication.end(error)
        raise
    finally:
        if token is not None:
            _under_way.reset(token)
    if batch is None:
        publication.end()
    else:
        batch.append(publication)


@contextmanager
def together() -> Iterator[None]:
    """End the publications of the block where the block ends, as one command of the library sends all of them."""
    batch: list[Publication] = []
    token = _together.set(batch)
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        _together.reset(token)
        for publication in batch:
            publication.end(failure)
