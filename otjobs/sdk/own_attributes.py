"""The attributes of a job's span: ours are all there and whole, the SDK's limits bound what the application adds.

`OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT` and its like make the SDK drop the oldest attributes and cut the longest. The oldest
are those that say which job a span is of, and a cut id is another job's: figures made from such spans would be wrong.
Ours are few (`MOST_OWN`) and short (`otjobs.texts.MAX_TEXT`), so they do without those limits. Lone surrogates are
mended in all of them: one would cost the span, or the batch.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk import environment_variables as env

from otjobs import attributes as a
from otjobs.faults import warn
from otjobs.texts import MAX_TEXT, bounded, mended

MOST_OWN: Final = 64
"""More than a job's span ever has of ours, labels included."""

PLAIN: Final = frozenset({str, int, float, bool})
_NUMBERS: Final = frozenset({int, float, bool})
_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1


def made_sound(attributes: dict[str, Any]) -> dict[str, Any]:
    """Make a span's own attributes such that every exporter takes them, in place."""
    for value in attributes.values():
        kind = type(value)
        if kind is str:
            if not value.isascii() or len(value) > MAX_TEXT:
                break
        elif kind is int and not _LEAST <= value <= _MOST:
            break
    else:
        return attributes
    for key, value in attributes.items():
        if type(value) is str:
            attributes[key] = bounded(value)
        elif type(value) is int:
            attributes[key] = min(max(value, _LEAST), _MOST)
    return attributes


class Attributes(BoundedAttributes):
    """Attributes that know ours from the application's.

    Args:
        own: ours at the span's start, sound.
        most: how many of the application's there may be; None for no limit.
        longest: the longest text of the application's; None for no limit.
    """

    def __init__(self, own: dict[str, Any], most: int | None, longest: int | None) -> None:
        self._dict = own
        self._theirs: dict[str, None] | None = None
        """The application's, oldest first; none for most spans."""
        self.maxlen = most
        self.dropped = 0
        self.max_value_len = longest
        self._lock = threading.Lock()
        self._immutable = False

    def _set_items(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            if type(value) in _NUMBERS and not self._immutable and key in a.NAMES:
                self._dict[key] = value
            elif type(key) is str:
                self[key] = value
            else:  # the SDK makes a text of it
                self._take(BoundedAttributes(1, {key: value}, max_value_len=self.max_value_len))

    def __setitem__(self, key: str, value: Any) -> None:
        if self._immutable:
            raise TypeError("the attributes of an ended span do not change")
        if type(key) is str and type(value) in PLAIN and (key in a.NAMES or self._is_own(key)):
            self._dict.update(made_sound({key: value}))
            return
        # The SDK's own rules for what may be an attribute, and how long: applied to it alone.
        cleaned = BoundedAttributes(1, None, immutable=False, max_value_len=self.max_value_len)
        cleaned[key] = value
        self._take(cleaned)

    def _is_own(self, key: str) -> bool:
        return key in self._dict and (self._theirs is None or key not in self._theirs)

    def _take(self, cleaned: BoundedAttributes) -> None:
        with self._lock:
            self.dropped += cleaned.dropped
            theirs = self._theirs = self._theirs or {}
            for name, value in cleaned.copy().items():
                key = mended(name)
                if self.maxlen is not None and len(theirs) >= self.maxlen and key not in self._dict:
                    self.dropped += 1
                    if not theirs:
                        return
                    oldest = next(iter(theirs))
                    del theirs[oldest], self._dict[oldest]
                self._dict.pop(key, None)
                theirs.pop(key, None)
                self._dict[key], theirs[key] = _mended(value), None


def of(own: dict[str, Any], added: Mapping[str, Any] | None, limits: Any) -> Attributes:
    """Return the attributes that a span starts with: ours, and those that somebody else (a sampler) added."""
    out = Attributes(own, limits.max_span_attributes, limits.max_span_attribute_length)
    if added is not None and added is not own:
        out._set_items({key: value for key, value in added.items() if key not in own})  # noqa: SLF001
    return out


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return mended(value)
    if isinstance(value, int) and not _LEAST <= value <= _MOST:
        return str(value) if value.bit_length() < 1024 else "a huge number"
    if isinstance(value, tuple):
        return tuple(map(_mended, value))
    if isinstance(value, Mapping):
        return {_mended(key): _mended(inner) for key, inner in value.items()}
    return value


def warn_of(limits: Any) -> None:
    """Say which setting does not bind a job's own attributes, where one is so low that it would."""
    for value, least, names in (
        (limits.max_span_attributes, MOST_OWN, (env.OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, env.OTEL_ATTRIBUTE_COUNT_LIMIT)),
        (
            limits.max_span_attribute_length,
            MAX_TEXT,
            (env.OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT, env.OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT),
        ),
    ):
        if value is not None and value < least:
            name = next((name for name in names if os.environ.get(name)), "SpanLimits")
            warn(
                "a limit on attributes does not bind those of job spans, whose figures would be wrong; it binds those "
                "that the application adds",
                f"{name} is {value}",
            )
