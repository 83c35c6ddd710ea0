"""What callers give, made usable: no argument of any kind raises, and none costs more than its bound.

An argument that has one plain meaning is converted without a word: digits for a number, bytes and UUIDs for a text, a
timedelta for seconds, a datetime for a time. Anything else counts as not given, and a counted warning names the
argument, what came, and what is right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from otjobs import attributes as a
from otjobs.faults import warn
from otjobs.texts import MAX_TEXT, bounded, shown

MOST_ATTEMPTS: Final = 65_535
MOST: Final = 2**31 - 1
MAX_LABELS: Final = 32
MAX_LABEL_NAME: Final = 64
MAX_LABEL: Final = 256

_READ: Final = 1_000_000
"""Characters that are looked at of any text."""
_NO_TEXT: Final = (bool, list, tuple, dict, set, frozenset, bytearray, memoryview, type, BaseException)


def unusable(name: str, value: object, right: str) -> None:
    """Count an argument that cannot be used."""
    warn("an argument cannot be used", f"{name} is {shown(value)}, and should be {right}")


def text(value: object, name: str, default: str = "", most: int = MAX_TEXT) -> str:
    """Return a text; bytes, numbers and objects with a text of their own (UUIDs, string enums) are converted."""
    if type(value) is str:
        return value if len(value) <= most else _cut(value, name, most)
    if value is None:
        return default
    try:
        return _text_of(value, name, most) or default
    except Exception:
        unusable(name, value, "a str")
        return default


def _text_of(value: Any, name: str, most: int) -> str:
    if isinstance(value, str):
        found = str.__getitem__(value, slice(_READ))  # the value of a string enum, not its name
    elif isinstance(value, bytes):
        found = value[: 4 * most + 4].decode(errors="surrogateescape")
    elif isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > 256:
            raise OverflowError(name)
        found = int.__repr__(value)
    elif isinstance(value, _NO_TEXT) or vars(object)["__str__"] is type(value).__str__:
        raise TypeError(name)
    else:
        found = str.__getitem__(str(value), slice(_READ))
    return found if len(found) <= most else _cut(found, name, most)


def _cut(value: str, name: str, most: int) -> str:
    warn("a text is too long and was cut", f"{name} has more than {most} characters")
    return bounded(value, most)


def count(value: object, name: str, *, least: int = 1, most: int = MOST) -> int | None:
    """Return a whole number within its bounds, None for none; digits and whole floats are converted."""
    if type(value) is int and least <= value <= most:
        return value
    if value is None:
        return None
    try:
        number = _number_of(value)
        if number == int(number):
            if not least <= number <= most:
                unusable(name, value, f"from {least} to {most}")
            return min(max(int(number), least), most)
    except Exception:
        number = 0
    unusable(name, value, "an int")
    return None


def seconds(value: object, name: str) -> float | None:
    """Return a number of seconds, not below 0, None for none; digits and timedeltas are converted."""
    if value is None:
        return None
    try:
        number = float(value.total_seconds() if isinstance(value, timedelta) else _number_of(value))
        if not math.isnan(number):
            return max(number, 0.0)
    except OverflowError:  # an int beyond every float
        return math.inf
    except Exception:
        number = 0.0
    unusable(name, value, "a number of seconds")
    return None


def _number_of(value: Any) -> Any:
    if isinstance(value, (bool, bytes, bytearray)):
        raise TypeError
    if isinstance(value, str):
        return float(value[:64])
    if isinstance(value, (int, float)):
        return value
    return value.__index__() if hasattr(value, "__index__") else float(value)


def flag(value: object, name: str) -> bool:
    """Return whether a flag is set."""
    if type(value) is bool:
        return value
    try:
        return bool(value)
    except Exception:
        unusable(name, value, "a bool")
        return False


def outcome(value: object) -> a.Outcome:
    """Return an outcome; an unknown one counts as failure."""
    told = text(value, "outcome", "failure")
    found = a.OUTCOMES.get(told)
    if found is None:
        warn("an unknown outcome was given and counts as failure", told)
        return "failure"
    return found


def labels(values: object, name: str = "labels") -> dict[str, str]:
    """Return labels within the limits of a carrier: 32 of them, 64 characters a name, 256 characters a value."""
    if values is None:
        return {}
    try:
        if not isinstance(values, Mapping):
            raise TypeError(name)  # noqa: TRY301  (answered below, like whatever the mapping itself raises)
        pairs = list(islice(values.items(), MAX_LABELS + 1))
        out = {}
        for key, value in pairs[:MAX_LABELS]:
            label = bounded(text(key, f"a name in {name}", "", MAX_LABEL_NAME), MAX_LABEL_NAME)
            if label:
                out[label] = bounded(text(value, f"{name}[{shown(label)}]", "", MAX_LABEL), MAX_LABEL)
    except Exception:
        unusable(name, values, "a mapping of str to str")
        return {}
    if len(pairs) > MAX_LABELS:
        warn(f"a job has more than {MAX_LABELS} labels; the rest is left out")
    return out
