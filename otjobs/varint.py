"""Whole numbers as protobuf and ClickHouse write them: seven bits a byte, the lowest first (LEB128)."""

from __future__ import annotations

from typing import Final

_SMALL: Final = tuple(bytes((number,)) for number in range(128))


def varint(number: int) -> bytes:
    """Return a number that is not negative as LEB128."""
    if number < 128:
        return _SMALL[number]
    out = bytearray()
    while number >= 128:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
