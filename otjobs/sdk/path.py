"""Which way the spans of jobs are made: the fast path, or the SDK's own plain one, and why.

The fast path knows the inside of the SDK's spans. Its modules are imported here alone, inside a trial: an SDK with
another inside costs a warning and the fast path, and nothing else.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otjobs.config import settings
from otjobs.faults import guard, warn
from otjobs.texts import described

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span, Tracer

    from otjobs.sdk.patches import Patches

_log = logging.getLogger("otjobs")
_said = ""
_UNEXPECTED: Final = "the SDK's spans are not as expected, so job spans cost more"


@dataclass(frozen=True, slots=True)
class Path:
    """How the spans of one tracer are made."""

    reason: str = ""
    """Why this is the plain path, '' for the fast one."""
    start_span: Callable[..., Span] | None = None
    """The fast path; None on the plain one."""
    keep_apart: Callable[[Any, dict[str, Any]], None] | None = None
    """Keeps our attributes of a span that the SDK has made apart from the application's; None where it cannot."""

    @property
    def line(self) -> str:
        """One line for people."""
        return f"plain path: {self.reason}" if self.reason else "fast path"


def choose(tracer: Tracer) -> Path:
    """Return the fastest way to make spans of this tracer that gives what the SDK gives."""
    keep_apart: Callable[[Any, dict[str, Any]], None] | None = None
    try:
        from otjobs.sdk import own_attributes

        if not own_attributes.usable():
            warn(_UNEXPECTED, "their attributes have other fields; the SDK's limits bind ours, too")
            return Path("the SDK's spans are not as expected")
        keep_apart = own_attributes.keep_apart
        if settings().fast == "off":
            return Path("OTEL_PYTHON_OTJOBS_FAST is off", keep_apart=keep_apart)
        from otjobs.sdk import fast_spans

        reason = fast_spans.unusable(tracer)
        if reason == fast_spans.UNEXPECTED:
            warn(_UNEXPECTED, "they have other fields or another content")
        return Path(reason, keep_apart=keep_apart) if reason else Path("", fast_spans.start_span)
    except Exception as error:
        warn(_UNEXPECTED, described(error))
        return Path(f"the SDK's spans are not as expected: {described(error)}", keep_apart=keep_apart)


def say(path: Path) -> None:
    """Log the path that is active, once as long as it stays."""
    global _said  # noqa: PLW0603
    if path.line != _said:
        _said = path.line
        _log.info("otjobs: job spans: %s", path.line)


def encode_directly(patches: Patches) -> None:
    """Let the SDK's encoder write the spans of the fast path directly."""
    with guard("job spans cannot be encoded directly"):
        from otjobs.sdk import fast_encoder

        fast_encoder.install()
        patches.on_undo(fast_encoder.uninstall)


def main() -> None:
    """Print the path of the installed SDK, for `otjobs doctor`."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.version import __version__

    provider = TracerProvider(shutdown_on_exit=False)
    print(f"OpenTelemetry SDK {__version__}: {choose(provider.get_tracer('otjobs')).line}")  # noqa: T201
