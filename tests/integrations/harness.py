"""What happened in one test: the spans that arrived and what the application has logged."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import parts

if TYPE_CHECKING:
    from pathlib import Path

    from otlp_receiver import Receiver, Span

MILLISECOND = 1_000_000


class Story:
    """What happened since it began: the spans and the application's log of one scenario."""

    def __init__(self, receiver: Receiver, log: Path, *, jobs_of_the_log: bool = False) -> None:
        self.receiver, self._log, self._jobs_of_the_log = receiver, log, jobs_of_the_log
        self._from_span = len(receiver.spans)
        self._from_byte = log.stat().st_size if log.exists() else 0

    @property
    def spans(self) -> list[Span]:
        spans = self.receiver.spans[self._from_span :]
        if not self._jobs_of_the_log:
            return spans
        # Late spans of the scenario before are not of this one.
        jobs = {job for event in self.log for job in (event.get("job"), *event.get("jobs", ())) if job}
        return [span for span in spans if not span.job or span.job in jobs]

    @property
    def log(self) -> list[dict[str, Any]]:
        return parts.json_lines(self._log, from_byte=self._from_byte)

    def wait(
        self, *, executed: int, dispatched: int | None = None, seconds: float = 60.0, quiet: float = 0.25
    ) -> Story:
        """Wait for that many execute spans (and dispatch spans), then until nothing more arrives."""

        def there() -> bool:
            spans = self.spans
            runs = sum(s.operation == "execute" for s in spans)
            sends = sum(s.operation == "dispatch" for s in spans)
            return runs >= executed and (dispatched is None or sends >= dispatched)

        try:
            parts.wait_until(there, seconds=seconds, what=f"{executed} execute spans")
        except TimeoutError as problem:
            raise AssertionError(f"{problem}; there are:\n{self.tree()}") from None
        seen = -1
        while seen != len(self.spans):
            seen = len(self.spans)
            time.sleep(quiet)
        return self

    def operation(self, name: str) -> list[Span]:
        return sorted((s for s in self.spans if s.operation == name), key=lambda s: s.start)

    @property
    def dispatches(self) -> list[Span]:
        return self.operation("dispatch")

    @property
    def executions(self) -> list[Span]:
        return self.operation("execute")

    def tree(self) -> str:
        return tree(self.spans)


def describe(span: Span) -> str:
    """A span in one line: its name and what became of it."""
    if span.operation == "execute":
        parts_ = [f"#{span.get('otjobs.job.attempt')}", span.get("otjobs.job.outcome", "?"), span.get("error.type", "")]
        flags = [n for n in ("dead_letter", "redelivered", "observed") if span.get(f"otjobs.job.{n}")]
        return " ".join([span.name, *(p for p in parts_ if p), *flags])
    if span.status == "ERROR":
        return f"{span.name} ERROR {span.get('error.type', '')}".strip()
    return span.name


def tree(spans: list[Span]) -> str:
    """The spans as an indented tree; equal siblings in order of start, else by their text, so that races do not show."""
    ids = {s.id for s in spans}

    def lines(parent: str, depth: int) -> list[str]:
        branches = []
        for span in spans:
            if (span.parent if span.parent in ids else "") == parent:
                branches.append(["  " * depth + describe(span), *lines(span.id, depth + 1)])
        return [line for branch in sorted(branches) for line in branch]

    return "\n".join(lines("", 0))
