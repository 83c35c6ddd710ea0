from __future__ import annotations

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from otjobs.backend.server.attribute_text import as_string, float_text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"), (-0.0, "-0"), (1.0, "1"), (1.5, "1.5"), (-2.25, "-2.25"), (0.1, "0.1"), (100.0, "100"),
        (0.000001, "0.000001"), (9.99e-7, "9.99e-7"), (-1e-7, "-1e-7"), (1.5e-10, "1.5e-10"), (1e20, "100000000000000000000"),
        (1e21, "1e+21"), (1.25e22, "1.25e+22"), (1e16, "10000000000000000"), (123456789.125, "123456789.125"),
        (1.7976931348623157e308, "1.7976931348623157e+308"), (5e-324, "5e-324"),
    ],
)  # fmt: skip
def test_floats_are_written_as_the_collector_writes_them(number: float, text: str) -> None:
    assert float_text(number) == text
    assert float(text) == number


def _list(*values: AnyValue) -> AnyValue:
    return AnyValue(array_value=ArrayValue(values=values))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (AnyValue(), ""),
        (AnyValue(string_value="ä\n"), "ä\n"),
        (AnyValue(bool_value=True), "true"),
        (AnyValue(bool_value=False), "false"),
        (AnyValue(int_value=-(1 << 63)), "-9223372036854775808"),
        (AnyValue(double_value=float("nan")), "json: unsupported value: NaN"),
        (AnyValue(double_value=float("-inf")), "json: unsupported value: -Inf"),
        (AnyValue(bytes_value=b"\x00\xff"), "AP8="),
        (_list(), "[]"),
        (_list(AnyValue(string_value='<"ä">'), AnyValue(int_value=1), AnyValue()), '["\\u003c\\"ä\\"\\u003e",1,null]'),
        (_list(AnyValue(double_value=float("nan"))), ""),
        (
            AnyValue(kvlist_value=KeyValueList(values=[
                KeyValue(key="b", value=AnyValue(bool_value=True)), KeyValue(key="a", value=_list(AnyValue(double_value=2.0)))
            ])),
            '{"a":[2],"b":true}',
        ),
    ],
)  # fmt: skip
def test_values_become_the_strings_the_exporter_stores(value: AnyValue, text: str) -> None:
    assert as_string(value) == text
