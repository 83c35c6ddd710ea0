"""How values are written: for people, and as JSON for programs."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import re
from typing import Any, Final

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGE: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)")
_MOST_SECONDS: Final = 2**32 - 1
NOTHING: Final = "-"


def duration(seconds: float | None) -> str:
    """Return a duration as people read it, without blanks: `420us`, `17ms`, `1.23s`, `2m05s`, `3h20m`, `4d02h`."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds == 0:
        return "0s"
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f}us"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g}ms"
    if seconds < 59.995:
        return f"{seconds:.2f}s"
    whole = round(seconds)
    for unit, smaller in (("d", "h"), ("h", "m"), ("m", "s")):
        size = _UNITS[unit]
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // _UNITS[smaller]:02d}{smaller}"
    return f"{seconds:.2f}s"


def moment(time: dt.datetime | None) -> str:
    """Return a time in UTC to the millisecond."""
    return NOTHING if time is None else utc(time).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc(time: dt.datetime) -> dt.datetime:
    """Return the time in UTC; one without a zone is in UTC already."""
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def printable(text: str) -> str:
    """Return text that can neither steer a terminal nor break or turn a line.

    Controls, line ends, marks that turn the direction of writing, and what has no width are written as escapes.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _lossless(text: str) -> str:
    """Return JSON in which such characters are JSON's own escapes, so that it reads the same and is as safe."""
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text)


def written(value: Any) -> str:
    """Return any value of a query for people; nothing is a dash."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, dt.datetime):
        return utc(value).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list, tuple, set)):
        return _lossless(json.dumps(plain(value), ensure_ascii=False))
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return printable(str(value))


def plain(value: Any) -> Any:
    """Return a value that JSON knows: times as ISO 8601 UTC with fraction, numbers as numbers, NaN as null."""
    if isinstance(value, dt.datetime):
        return utc(value).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, decimal.Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if value is None or isinstance(value, (str, int)):
        return value
    return str(value)


def document(value: Any) -> str:
    """Return one JSON document."""
    return _lossless(json.dumps(plain(value), ensure_ascii=False, indent=2))


def tsv(value: Any) -> str:
    r"""Return a value as in ClickHouse's TabSeparated: NULL, tabs, line ends and backslashes as escapes.

    What could steer a terminal is written as its bytes, `\x1b`, which ClickHouse reads back.
    """
    if value is None:
        return "\\N"
    known = plain(value)
    text = json.dumps(known, ensure_ascii=False) if isinstance(known, (dict, list, bool)) else str(known)
    for char, escape in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(char, escape)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else "".join(f"\\x{b:02x}" for b in c.encode("utf-8", "surrogatepass")) for c in text
    )


def seconds_of(text: str) -> int:
    """Return the seconds of `90`, `90s`, `15m`, `2h`, `1d` or `1w`.

    Raises:
        ValueError: it is none of these.
    """
    found = _AGE.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(text)
    seconds = round(float(found[1]) * _UNITS[found[2] or "s"])
    if not 0 < seconds <= _MOST_SECONDS:
        raise ValueError(text)
    return seconds
