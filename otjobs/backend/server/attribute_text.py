"""Attribute values as the strings that the collector's ClickHouse exporter stores.

The rules are those of `pcommon.Value.AsString` of the collector, which goes through Go's `encoding/json` for arrays and
maps: https://github.com/open-telemetry/opentelemetry-collector/blob/main/pdata/pcommon/value.go
"""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

# What Go's JSON encoder escapes beyond the JSON rules, so that the text is safe inside HTML.
_GO_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def float_text(number: float) -> str:
    """Return a finite number as Go's JSON encoder writes it: shortest digits, exponents below 1e-6 and from 1e21."""
    size = abs(number)
    if number == 0:
        return "-0" if math.copysign(1.0, number) < 0 else "0"
    text = repr(number)
    mantissa, _, exponent = text.partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    if fraction == "0":
        fraction = ""
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if size < 1e-6 or size >= 1e21:
        power = point - 1
        rest = f".{digits[1:]}" if len(digits) > 1 else ""
        power_text = f"-{-power}" if power < 0 else f"+{power}"
        return f"{sign}{digits[0]}{rest}e{power_text}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    return f"{sign}{digits[:point]}.{digits[point:]}"


class _NotJsonError(ValueError):
    """A number that JSON has no text for."""


def _json(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return _quote(value.string_value)
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "int_value":
        return str(value.int_value)
    if kind == "double_value":
        if not math.isfinite(value.double_value):
            raise _NotJsonError
        return float_text(value.double_value)
    if kind == "bytes_value":
        return f'"{base64.b64encode(value.bytes_value).decode()}"'
    if kind == "array_value":
        return f"[{','.join(map(_json, value.array_value.values))}]"
    if kind == "kvlist_value":
        pairs = {pair.key: pair.value for pair in value.kvlist_value.values}
        return "{" + ",".join(f"{_quote(key)}:{_json(pairs[key])}" for key in sorted(pairs)) + "}"
    return "null"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_GO_ESCAPES)


def as_string(value: AnyValue) -> str:
    """Return an attribute value as text; never raises on a value that protobuf can hold."""
    kind: Any = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "int_value":
        return str(value.int_value)
    if kind == "double_value":
        number = value.double_value
        if math.isfinite(number):
            return float_text(number)
        return "json: unsupported value: " + ("NaN" if math.isnan(number) else "+Inf" if number > 0 else "-Inf")
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if kind in {"array_value", "kvlist_value"}:
        try:
            return _json(value)
        except _NotJsonError:
            return ""
    return ""
