"""One span that cannot be encoded costs itself at most, not the batch that it is exported with.

The OTLP exporters encode a batch as a whole: a name with a lone surrogate, a time that is no integer, and up to 512
spans of any kind are gone. Here such a span is mended if it can be, or else left out and counted; the others leave as
ever. That holds for every span of the process, the application's included: they share the exporters.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status
from wrapt import register_post_import_hook

from otjobs.faults import guard, warn
from otjobs.sdk import patches
from otjobs.sdk.sound import made_sound
from otjobs.texts import described, mended, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXPORTERS: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "opentelemetry.exporter.otlp.json.http.trace_exporter",
    "opentelemetry.exporter.otlp.json.file.trace_exporter",
)
_LAST: Final = 2**63 - 1


class Careful:
    """Takes the place of an exporter's `encode_spans`.

    Args:
        original: the SDK's `encode_spans`.
        lenient: it takes what no receiver reads, as JSON has an escape for lone surrogates.
    """

    def __init__(self, original: Callable[[Sequence[ReadableSpan]], Any], *, lenient: bool = False) -> None:
        self.original = original
        self._lenient = lenient

    def __call__(self, spans: Sequence[ReadableSpan]) -> Any:
        """Return the request of these spans, without those that have none."""
        try:
            if not self._lenient or all(map(_is_sound, spans)):
                return self.original(spans)
        except Exception as error:
            return self._one_by_one(spans, described(error))
        return self._one_by_one(spans, "a text has no UTF-8 form, or a time is no unix ns")

    def _one_by_one(self, spans: Sequence[ReadableSpan], reason: str) -> Any:
        good, mend = [], 0
        for span in spans:
            one: ReadableSpan | None = span
            if not self._takes(span):
                one = _mended(span)
                mend += 1
            if one is None or not self._takes(one):
                mend -= 1
                warn("a span cannot be encoded and was left out of its batch", f"{_name(span)}: {reason}")
                continue
            good.append(one)
        if mend:
            warn("spans had to be mended before they could be encoded", reason, count=mend)
        return self.original(good)

    def _takes(self, span: ReadableSpan) -> bool:
        try:
            if self._lenient and not _is_sound(span):
                return False
            self.original([span])
        except Exception:
            return False
        return True


def _is_sound(span: ReadableSpan) -> bool:
    texts = [span.name, span.status.description or ""]
    for found in (span.attributes, *(event.attributes for event in span.events)):
        texts += [part for pair in (found or {}).items() for part in pair if isinstance(part, str)]
    texts += [event.name for event in span.events]
    times = [span.start_time, span.end_time, *(event.timestamp for event in span.events)]
    return all(mended(text) is text for text in texts) and all(type(t) is int and 0 <= t <= _LAST for t in times)


def _name(span: ReadableSpan) -> str:
    with guard("a span has no name"):
        return shown(span.name)
    return ""


def _mended(span: ReadableSpan) -> ReadableSpan | None:
    """Return a copy of the span with sound texts and times, None where there is none."""
    with guard("a span cannot be mended"):
        status = span.status
        description = status.description
        start = _time(span.start_time)
        return ReadableSpan(
            name=_text(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=_attributes(span.attributes),
            events=[
                Event(_text(event.name), _attributes(event.attributes), _time(event.timestamp)) for event in span.events
            ],
            links=[Link(link.context, _attributes(link.attributes)) for link in span.links],
            kind=span.kind,
            status=Status(status.status_code, None if description is None else _text(description)),
            start_time=start,
            end_time=max(_time(span.end_time), start),
            instrumentation_scope=span.instrumentation_scope,
        )
    return None


def _text(value: Any) -> str:
    return mended(value) if isinstance(value, str) else shown(value)


def _time(value: Any) -> int:
    return min(max(int(value or 0), 0), _LAST)


def _attributes(found: Any) -> dict[str, Any]:
    sound = {mended(key): value for key, value in (found or {}).items() if isinstance(key, str)}
    return made_sound(sound)


def install() -> None:
    """Let the OTLP exporters of this process encode with care, those that are loaded later included."""
    global _installed  # noqa: PLW0603
    if not _installed:
        _installed = True
        patches.process.on_undo(_stop)
    for name in EXPORTERS:
        with guard("an exporter cannot be made to encode with care"):
            if name in sys.modules:
                _replace(sys.modules[name])
            elif name not in _awaited:
                _awaited.add(name)
                register_post_import_hook(_replace, name)


_installed = False
_awaited: set[str] = set()
"""Modules whose import calls `_replace`; such a call cannot be taken back."""


def _stop() -> None:
    global _installed  # noqa: PLW0603
    _installed = False


def _replace(module: Any) -> None:
    _awaited.discard(module.__name__)
    original = getattr(module, "encode_spans", None)
    if _installed and original is not None and not isinstance(original, Careful):
        patches.process.replace(module, "encode_spans", Careful(original, lenient=".json." in module.__name__))
