"""The attributes of a job's span: ours are all there and whole, the SDK's limits bound what the application adds.

`OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT` and its like make the SDK drop the oldest attributes and cut the longest. The oldest
are those that say which job a span is of, and a cut id is another job's: figures made from such spans would be wrong.
Ours are few (`sound.MOST_OWN`) and short (`otjobs.texts.MAX_TEXT`), so they do without those limits. Lone surrogates
are mended in all of them: one would cost the span, or the batch.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes

from otjobs import attributes as a
from otjobs.sdk import trial
from otjobs.sdk.sound import LEAST, MOST, made_sound
from otjobs.texts import mended

PLAIN: Final = frozenset({str, int, float, bool})
_NUMBERS: Final = frozenset({int, float, bool})


class Attributes(BoundedAttributes):
    """Attributes that know ours from the application's.

    Their fields are those of the SDK's, whose encoders and spans read them.

    Args:
        own: ours at the span's start, sound.
        most: how many of the application's there may be; None for no limit.
        longest: the longest text of the application's; None for no limit.
    """

    _extended_attributes = False
    """A field of SDKs before 1.45."""

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


def keep_apart(span: Any, own: dict[str, Any]) -> None:
    """Keep ours apart from the application's on a span that the SDK has made."""
    if isinstance(getattr(span, "_attributes", None), BoundedAttributes):
        span._attributes = of(dict(own), span._attributes, span._limits)  # noqa: SLF001


def usable() -> bool:
    """Tell whether the SDK's spans work with attributes that are kept apart, as with their own."""
    tried = trial.tracer()
    theirs: Any = tried.start_span("s", attributes=trial.ATTRIBUTES, start_time=1)
    ours: Any = tried.start_span("s", attributes=trial.ATTRIBUTES, start_time=1)
    fields = vars(theirs._attributes)  # noqa: SLF001
    keep_apart(ours, trial.ATTRIBUTES)
    found = ours._attributes  # noqa: SLF001
    if type(found) is not Attributes or not all(hasattr(found, name) for name in fields):
        return False
    return trial.come_out_the_same(theirs, ours)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return mended(value)
    if isinstance(value, int) and not LEAST <= value <= MOST:
        return str(value) if value.bit_length() < 1024 else "a huge number"
    if isinstance(value, tuple):
        return tuple(map(_mended, value))
    if isinstance(value, Mapping):
        return {_mended(key): _mended(inner) for key, inner in value.items()}
    return value
