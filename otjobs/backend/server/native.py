"""Span rows as columns, and their encoding as one ClickHouse Native block.

The embedded server writes the 22 columns that the collector's ClickHouse exporter writes. It goes from protobuf
straight to columns, because a row tuple per span and an object per attribute would cost more than the insert itself.
Format: https://clickhouse.com/docs/interfaces/formats/Native (revision 0, without block info).
"""

from __future__ import annotations

from array import array
from itertools import accumulate, chain
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from otjobs.backend.store.landing import TYPES
from otjobs.varint import varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_CACHE_ENTRIES: Final = 20_000
_CACHED_LENGTH: Final = 64

_TEXTS: Final = ("String", "Array(String)")
_NESTED: Final = "Array("


def encode_text(text: str) -> bytes:
    """Return a string as a Native String value: its length and its UTF-8 bytes."""
    raw = text.encode("utf-8", "replace")
    return varint(len(raw)) + raw


class TextCache:
    """Encoded strings by text: names, keys and most values repeat from span to span.

    Not for two threads at once.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def __call__(self, text: str) -> bytes:
        """Return `encode_text(text)`, remembered where the text is short."""
        encoded = self._known.get(text)
        if encoded is None:
            encoded = encode_text(text)
            if len(encoded) <= _CACHED_LENGTH:
                if len(self._known) >= _CACHE_ENTRIES:
                    self._known.clear()
                self._known[text] = encoded
        return encoded


class MapColumn:
    """A column of attribute maps: pairs per row, then all keys, then all values."""

    __slots__ = ("counts", "keys", "values")

    def __init__(self) -> None:
        self.counts = array("Q")
        self.keys: list[bytes] = []
        self.values: list[bytes] = []

    def add(self, count: int, keys: bytes, values: bytes) -> None:
        """Append one row that is encoded already."""
        self.counts.append(count)
        self.keys.append(keys)
        self.values.append(values)


class Columns:
    """The spans of one request as columns."""

    __slots__ = (
        "durations",
        "event_attributes",
        "event_counts",
        "event_times",
        "link_attributes",
        "link_counts",
        "resource_attributes",
        "rows",
        "singles",
        "size",
        "span_attributes",
        "text",
        "times",
    )

    def __init__(self) -> None:
        self.rows = 0
        self.size = 0
        self.singles: Callable[[], list[Columns]] = lambda: [self]
        """Makes a batch of each span, for the case that one of them cannot be stored."""
        self.times = array("q")
        self.durations = array("Q")
        self.text: dict[str, list[bytes]] = {name: [] for name, kind in TYPES.items() if kind in _TEXTS}
        self.resource_attributes = MapColumn()
        self.span_attributes = MapColumn()
        self.event_counts = array("Q")
        self.event_times = array("q")
        self.event_attributes = MapColumn()
        self.link_counts = array("Q")
        self.link_attributes = MapColumn()

    def seal(self) -> None:
        """Join the many small byte strings, which frees most of the batch's memory while it waits for the writer."""
        for parts in self.text.values():
            parts[:] = [b"".join(parts)]
        for column in (self.resource_attributes, self.span_attributes, self.event_attributes, self.link_attributes):
            column.keys[:] = [b"".join(column.keys)]
            column.values[:] = [b"".join(column.values)]


def _offsets(counts: Iterable[array[int]]) -> bytes:
    return array("Q", accumulate(chain.from_iterable(counts))).tobytes()


def encode_block(batches: Sequence[Columns]) -> bytes:
    """Return the rows of all batches as one Native block, in the order of the landing table's columns."""
    out: list[bytes] = [varint(len(TYPES)), varint(sum(batch.rows for batch in batches))]
    lengths = {
        "Events": _offsets(batch.event_counts for batch in batches),
        "Links": _offsets(batch.link_counts for batch in batches),
    }
    for name, kind in TYPES.items():
        out.extend((encode_text(name), encode_text(kind)))
        if kind.startswith(_NESTED):
            out.append(lengths[name.partition(".")[0]])
        if kind in _TEXTS:
            for batch in batches:
                out.extend(batch.text[name])
        elif name in _MAPS:
            _add_maps(out, [_MAPS[name](batch) for batch in batches])
        else:
            out.extend(_NUMBERS[name](batch).tobytes() for batch in batches)
    return b"".join(out)


def _add_maps(out: list[bytes], columns: list[MapColumn]) -> None:
    out.append(_offsets(column.counts for column in columns))
    for column in columns:
        out.extend(column.keys)
    for column in columns:
        out.extend(column.values)


_MAPS: Final[dict[str, Callable[[Columns], MapColumn]]] = {
    "ResourceAttributes": attrgetter("resource_attributes"),
    "SpanAttributes": attrgetter("span_attributes"),
    "Events.Attributes": attrgetter("event_attributes"),
    "Links.Attributes": attrgetter("link_attributes"),
}
_NUMBERS: Final[dict[str, Callable[[Columns], array[int]]]] = {
    "Timestamp": attrgetter("times"),
    "Duration": attrgetter("durations"),
    "Events.Timestamp": attrgetter("event_times"),
}
