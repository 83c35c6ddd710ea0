"""Span rows as columns, and their encoding as one ClickHouse Native block.

The embedded server writes the 22 columns that the collector's ClickHouse exporter writes. It goes from protobuf
straight to columns, because a row tuple per span and an object per attribute would cost more than the insert itself.
Format: https://clickhouse.com/docs/interfaces/formats/Native (revision 0, without block info).
"""

from __future__ import annotations

from array import array
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Final

from otjobs.varint import varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_CACHE_ENTRIES: Final = 20_000
_CACHED_LENGTH: Final = 64

_STRING: Final = "String"
_TIME: Final = "DateTime64(9)"
_ATTRIBUTES: Final = "Map(String, String)"

TEXT_COLUMNS: Final = (
    "TraceId",
    "SpanId",
    "ParentSpanId",
    "TraceState",
    "SpanName",
    "SpanKind",
    "ServiceName",
    "ScopeName",
    "ScopeVersion",
    "StatusCode",
    "StatusMessage",
    "Events.Name",
    "Links.TraceId",
    "Links.SpanId",
    "Links.TraceState",
)


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
        self.text: dict[str, list[bytes]] = {name: [] for name in TEXT_COLUMNS}
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
    """Return the rows of all batches as one Native block in the exporter's column order."""
    out: list[bytes] = [varint(22), varint(sum(batch.rows for batch in batches))]

    def column(name: str, kind: str) -> None:
        out.extend((encode_text(name), encode_text(kind)))

    def texts(name: str) -> None:
        for batch in batches:
            out.extend(batch.text[name])

    def maps(pick: Callable[[Columns], MapColumn]) -> None:
        columns = [pick(batch) for batch in batches]
        out.append(_offsets(c.counts for c in columns))
        for c in columns:
            out.extend(c.keys)
        for c in columns:
            out.extend(c.values)

    def text_column(name: str) -> None:
        column(name, _STRING)
        texts(name)

    column("Timestamp", _TIME)
    out.extend(batch.times.tobytes() for batch in batches)
    for name in ("TraceId", "SpanId", "ParentSpanId", "TraceState", "SpanName", "SpanKind", "ServiceName"):
        text_column(name)
    column("ResourceAttributes", _ATTRIBUTES)
    maps(lambda batch: batch.resource_attributes)
    text_column("ScopeName")
    text_column("ScopeVersion")
    column("SpanAttributes", _ATTRIBUTES)
    maps(lambda batch: batch.span_attributes)
    column("Duration", "UInt64")
    out.extend(batch.durations.tobytes() for batch in batches)
    text_column("StatusCode")
    text_column("StatusMessage")

    events = _offsets(batch.event_counts for batch in batches)
    column("Events.Timestamp", f"Array({_TIME})")
    out.append(events)
    out.extend(batch.event_times.tobytes() for batch in batches)
    column("Events.Name", f"Array({_STRING})")
    out.append(events)
    texts("Events.Name")
    column("Events.Attributes", f"Array({_ATTRIBUTES})")
    out.append(events)
    maps(lambda batch: batch.event_attributes)

    links = _offsets(batch.link_counts for batch in batches)
    for name in ("Links.TraceId", "Links.SpanId", "Links.TraceState"):
        column(name, f"Array({_STRING})")
        out.append(links)
        texts(name)
    column("Links.Attributes", f"Array({_ATTRIBUTES})")
    out.append(links)
    maps(lambda batch: batch.link_attributes)
    return b"".join(out)
