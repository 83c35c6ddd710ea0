"""The smallest set of spans that still shows a failure, in words that fit a report."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from spans_of import Span

SECONDS = 20.0
LEFT_OUT = ("messaging.operation", "messaging.system", "otjobs.worker")


def smallest(spans: list[Span], fails: Callable[[list[Span]], bool]) -> list[Span]:
    """Leave out workflows, then single spans, as long as it still fails and there is time."""
    until = time.monotonic() + SECONDS
    kept = list(dict.fromkeys(spans))
    by_workflow: dict[str, list[Span]] = {}
    for span in kept:
        by_workflow.setdefault(span.attributes.get("otjobs.workflow.id", span.trace_id), []).append(span)
    for group in [*by_workflow.values(), *([span] for span in kept)]:
        fewer = [span for span in kept if span not in group]
        if len(fewer) < len(kept) and fewer and time.monotonic() < until and fails(fewer):
            kept = fewer
    return kept


def told(spans: list[Span]) -> str:
    """The spans as lines: name, start and length relative to the first, attributes."""
    first = min(span.start for span in spans)
    lines = []
    for span in sorted(spans, key=lambda s: s.start):
        said = {k.removeprefix("otjobs."): v for k, v in span.attributes.items() if not k.startswith(LEFT_OUT)}
        for key, value in said.items():
            if key.endswith("_at"):
                said[key] = f"{(int(value) - first) / 1e9:+.3f}s"
        lines.append(
            f"{(span.start - first) / 1e9:+.3f}s {(span.end - span.start) / 1e9:.3f}s {span.name} [{span.service}] "
            f"trace {span.trace_id[:6]} {span.status} {said}"
        )
    return "\n".join(lines)
