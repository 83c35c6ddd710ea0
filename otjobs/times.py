"""Times from outside, as the unix nanoseconds that spans carry: the one place where they are checked.

A signed 64-bit integer of nanoseconds ends in 2262, and so do ClickHouse's times and OTLP's attributes. Two kinds of
time come in. A *deadline* (earliest start, expiry) means the same when it is moved to the edge of what can be written:
a job that is due in the year 2300 is scheduled. A *moment* (an enqueue, a start, an end) was read from a clock: outside
of the edges it is wrong, and unknown is better than wrong.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Final

from otjobs.faults import warn
from otjobs.texts import shown

EARLIEST: Final = 10**17
"""March 1973. No smaller number is taken for nanoseconds: it is a time of today in microseconds, or milliseconds, or
seconds."""

LATEST: Final = 9_151_488_000 * 10**9
"""The year 2260: below the 2261 that stands for "never" in the views, whatever they add to it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = ((10**11, 10**9, "seconds"), (10**14, 10**6, "milliseconds"), (EARLIEST, 10**3, "microseconds"))
"""Below that number, times that, is what the number is taken for."""

_MOVED: Final = "a time outside of 1973 to 2260 was moved to the edge of it"
_RIGHT: Final = "unix nanoseconds, an int such as time.time_ns()"


def deadline(value: object, name: str) -> int | None:
    """Return an earliest start or expiry as unix ns, moved to the edge where it is beyond; None for none.

    Args:
        value: unix ns (int, float, digits), a datetime, or an ISO 8601 text.
        name: what the warning calls it.
    """
    if type(value) is int and EARLIEST <= value <= LATEST:
        return value
    found = _nanoseconds(value, name)
    if found is None or EARLIEST <= found <= LATEST:
        return found
    warn(_MOVED, f"{name} is {shown(value)}")
    return min(max(found, EARLIEST), LATEST)


def moment(value: object, name: str) -> int | None:
    """Return a time that was read from a clock as unix ns; None for none, and where it is beyond the edges."""
    if type(value) is int and EARLIEST <= value <= LATEST:
        return value
    found = _nanoseconds(value, name)
    if found is None or EARLIEST <= found <= LATEST:
        return found
    warn("a time outside of 1973 to 2260 was left out", f"{name} is {shown(value)}")
    return None


def after(now: int, seconds: float) -> int:
    """Return the time that many seconds from now, unix ns, at most `LATEST`."""
    found = now + int(min(seconds, 1e10) * 1e9)
    if found > LATEST:
        warn(_MOVED, f"a delay of {seconds:g} seconds")
    return min(found, LATEST)


def from_datetime(value: datetime, zone: tzinfo | None = None) -> int:
    """Return a datetime as unix ns, exactly; without a zone of its own it is in `zone`, or else local time."""
    if value.tzinfo is None and zone is not None:
        value = value.replace(tzinfo=zone)
    if value.tzinfo is None and 1900 < value.year < 2400:  # elsewhere a zone changes nothing, and may not be known
        value = value.astimezone()
    since: timedelta = (value if value.tzinfo is not None else value.replace(tzinfo=UTC)) - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def _nanoseconds(value: object, name: str) -> int | None:
    """Return what the value means in unix ns, as far away as it may be; None for None, 0 and what means no time."""
    if value is None:
        return None
    try:
        return _read(value, name) or None  # 0 is what programs write that have no time to give
    except Exception:
        warn("a time cannot be used and was left out", f"{name} is {shown(value)}, and should be {_RIGHT}")
        return None


def _read(value: Any, name: str) -> int:
    if isinstance(value, str) and not value.lstrip("-").isdecimal():
        value = datetime.fromisoformat(value[:64])
    if isinstance(value, datetime):
        return from_datetime(value)
    if isinstance(value, (bool, date, bytes, bytearray)):
        raise TypeError(name)
    if isinstance(value, str):
        value = int(value[:64])
    if isinstance(value, float):
        if math.isinf(value):
            return LATEST + 1 if value > 0 else EARLIEST - 1
        number = int(value)  # not for nan
    else:
        number = value.__index__()
    for below, factor, unit in _UNITS:
        if 0 < number < below:
            meant = int(value * factor)
            warn(
                "a time was taken for another unit", f"{name} is {shown(value)}, read as {unit}: it should be {_RIGHT}"
            )
            return meant
    return number
