"""Values of every kind that somebody may hand to a public call, hostile ones included."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Mapping

from hypothesis import strategies as st


class Hostile:
    """Raises whatever it is asked."""

    def _no(self, *_, **__):
        raise RuntimeError("hostile \ud800")

    __str__ = __repr__ = __bool__ = __int__ = __index__ = __float__ = __len__ = __iter__ = __eq__ = _no
    __lt__ = __add__ = __getitem__ = __contains__ = __format__ = __bytes__ = total_seconds = _no

    def __hash__(self):
        return 1


class HostileClass(type):
    def __getattribute__(cls, name):
        raise RuntimeError("hostile class")


class OfHostileClass(metaclass=HostileClass):
    pass


class HostileMapping(Mapping):
    """Says that it is short, and goes on for ever."""

    def __getitem__(self, key):
        raise RuntimeError("hostile")

    def __iter__(self):
        raise RuntimeError("hostile")

    def __len__(self):
        return 1


class EndlessMapping(Mapping):
    def __init__(self):
        self.asked = 0

    def __getitem__(self, key):
        self.asked += 1
        return "x"

    def __iter__(self):
        number = 0
        while True:
            self.asked += 1
            yield f"key {number}"
            number += 1

    def __len__(self):
        return 1


class HostileText(str):  # noqa: SLOT000
    def __len__(self):
        raise RuntimeError("hostile")

    isascii = encode = __str__ = __getitem__ = strip = lstrip = lower = __eq__ = __len__
    __hash__ = str.__hash__


class HostileNumber(int):
    def __int__(self):
        raise RuntimeError("hostile")

    __index__ = __float__ = __le__ = __lt__ = __gt__ = __eq__ = __str__ = __repr__ = __int__
    __hash__ = int.__hash__


class HostileError(Exception):
    def __str__(self):
        raise RuntimeError("hostile")

    __repr__ = __str__


class Color(str, enum.Enum):  # noqa: UP042  (whose `str` is its name)
    RED = "red"


class NoZone(dt.tzinfo):
    def utcoffset(self, _):
        raise RuntimeError("hostile")

    tzname = dst = utcoffset


class HostileTime(dt.datetime):
    """A time whose zone raises."""


HOSTILE = [
    Hostile(), OfHostileClass(), HostileMapping(), HostileText("x"), HostileNumber(5), HostileError("x"), Color.RED,
    object(), Hostile, OfHostileClass, len, ValueError("\ud800"), ValueError, float("nan"), float("inf"), -float("inf"),
    1e300, -1e300, 10**400, -(10**400), 2**63, -(2**63) - 1, "\ud800", "a\udcfcb", "\ud83d\ude00", "x" * 100_000,
    b"\xff\xfe", bytearray(b"x"), memoryview(b"x"), range(10**12), dt.datetime.max, dt.datetime.min,
    dt.date(2026, 1, 1), dt.timedelta.max, dt.timedelta.min,
    HostileTime(2020, 1, 1, tzinfo=NoZone()), decimal.Decimal("NaN"), decimal.Decimal("1e999"), uuid.UUID(int=5), complex(1, 2), ..., NotImplemented,
    "9" * 5000, "5", "-1", "nan", " 5 ", "2026-01-01T00:00:00Z", 1_700_000_000, 1_700_000_000_000, 1.7e18, -5, 0, True,
]  # fmt: skip

# Hypothesis compares and prints what it gives; those are given by hand as well.
LARGE = ("x" * 100_000, 10**400, -(10**400), "9" * 5000)
MILD = [value for value in HOSTILE if "Hostile" not in type.__repr__(type(value)) and value not in LARGE]

texts = st.text(st.characters(exclude_categories=()), max_size=30)  # surrogates included
plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(), texts, st.binary(max_size=30),
    st.datetimes(timezones=st.one_of(st.none(), st.timezones())), st.dates(), st.timedeltas(), st.uuids(),
    st.decimals(), st.sampled_from(MILD),
)  # fmt: skip
anything = st.one_of(
    plain,
    st.lists(plain, max_size=3),
    st.tuples(plain),
    st.dictionaries(st.one_of(texts, st.integers(), st.binary(max_size=5)), plain, max_size=4),
)
