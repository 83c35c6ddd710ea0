"""A request that is wrong in one place costs at most the span of that place, whichever way it comes."""

from __future__ import annotations

import json
import time

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue

from otjobs.backend.server.decode import parse_json, parse_protobuf
from otjobs.varint import varint


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def nested(depth: int) -> bytes:
    """An AnyValue that holds itself that deep, made of lengths alone: protobuf's own encoder stops long before."""
    sizes = [len(AnyValue(string_value="in").SerializeToString())]
    head: list[bytes] = []
    for _ in range(depth):
        inner = varint(1 << 3 | 2) + varint(sizes[-1])
        outer = varint(5 << 3 | 2) + varint(len(inner) + sizes[-1])
        head.append(outer + inner)
        sizes.append(len(outer) + len(inner) + sizes[-1])
    return b"".join(reversed(head)) + AnyValue(string_value="in").SerializeToString()


def raw_request(service: bytes, *spans: bytes, scope: bytes = b"s") -> bytes:
    resource = field(1, field(1, b"service.name") + field(2, field(1, service)))
    scopes = field(1, field(1, scope)) + b"".join(field(2, span) for span in spans)
    return field(1, field(1, resource) + field(2, scopes))


def attribute(key: bytes, value: bytes) -> bytes:
    return field(9, field(1, key) + field(2, value))


@pytest.fixture(params=["grpc", "http"])
def send(request, embedded):
    """Sends a protobuf body; returns how many spans were refused, and why."""

    def one(body: bytes) -> tuple[int, str]:
        if request.param == "http":
            return embedded.rejected(embedded.post(body))
        with grpc.insecure_channel(
            f"{embedded.at.host}:{embedded.at.grpc_port}", options=[("grpc.max_send_message_length", -1)]
        ) as channel:
            answer = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")(
                body, timeout=60
            )
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
        return partial.rejected_spans, partial.error_message

    return one


def test_texts_that_are_no_utf8_are_mended_wherever_they_stand(embedded, send, span, request):
    service = f"utf8-{request.node.callspec.params['send']}"
    good = span("good").SerializeToString()
    bad = (
        span("").SerializeToString()
        + field(5, b"name \xff\xfe")
        + field(3, b"a=\xed\xa0\x80")
        + attribute(b"key \xe9", field(1, b"value \xf0\x9f\x98"))
        + attribute(b"list", field(5, field(1, field(1, b"in a list \xff"))))
        + attribute(b"map", field(6, field(1, field(1, b"k \xff") + field(2, field(1, b"in a map \xff")))))
        + field(11, field(2, b"event \xff") + field(3, field(1, b"e") + field(2, field(1, b"v \xff"))))
        + field(13, field(1, bytes(range(16))) + field(2, bytes(range(8))) + field(3, b"t \xff"))
        + field(15, field(2, b"status \xff"))
    )
    assert send(raw_request(service.encode(), good, bad, good, scope=b"scope \xff")) == (0, "")
    rows = embedded.sql(
        "SELECT SpanName, TraceState, SpanAttributes, ScopeName, StatusMessage, `Events.Name`, `Links.TraceState`"
        " FROM otel_traces WHERE ServiceName = {s:String} ORDER BY SpanName = 'good', SpanName LIMIT 1 BY SpanName",
        s=service,
    )
    assert rows[0] == [
        "name ��", "a=���",
        {"key �": "value �", "list": '["in a list �"]', "map": '{"k �":"in a map �"}'},
        "scope �", "status �", ["event �"], ["t �"],
    ]  # fmt: skip
    assert rows[1][0] == "good"


def test_a_service_name_that_is_no_utf8_keeps_its_spans(embedded, send, span):
    assert send(raw_request(b"caf\xe9", span("in a cafe").SerializeToString())) == (0, "")
    assert set(embedded.names("caf�")) == {"in a cafe"}


def test_a_span_nested_without_end_costs_nobody_anything(embedded, send, span, request):
    service = f"deep-{request.node.callspec.params['send']}"
    deep = span("deep").SerializeToString() + attribute(b"a", nested(1_000_000))
    assert 8 << 20 < len(deep) < 16 << 20
    began = time.monotonic()
    assert send(raw_request(service.encode(), deep, span("good").SerializeToString())) == (0, "")
    assert time.monotonic() - began < 60
    assert set(embedded.names(service)) == {"deep", "good"}
    [[value]] = embedded.sql(
        "SELECT SpanAttributes['a'] FROM otel_traces WHERE ServiceName = {s:String} AND SpanName = 'deep' LIMIT 1",
        s=service,
    )
    assert value == "[" * 40 + '"(nested too deeply)"' + "]" * 40


def test_what_cannot_be_read_after_all_costs_its_own_span(embedded, send, span, request):
    service = f"cut-{request.node.callspec.params['send']}"
    good = span("good").SerializeToString()
    spans = [
        good,
        good + b"\x2a\x7f",
        span("also good").SerializeToString(),
        b"\xff\xff\xff",
        field(1, b"x" * 16)[:-1] + b"",
    ]
    count, text = send(raw_request(service.encode(), *spans))
    assert (count, text) == (3, "3 x span cannot be decoded")
    assert set(embedded.names(service)) == {"also good", "good"}


def test_spans_under_the_name_of_old_are_read(embedded, send, span, request):
    service = f"old-{request.node.callspec.params['send']}"
    resource = field(1, field(1, field(1, b"service.name") + field(2, field(1, service.encode()))))
    library = field(1000, field(1, field(1, b"lib")) + field(2, span("old").SerializeToString()))
    assert send(field(1, resource + library)) == (0, "")
    assert set(embedded.names(service)) == {"old"}


def as_json(service: str, **more) -> dict:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return {"resourceSpans": [{"resource": resource, **more}]}


def json_span(name: str, number: int, **more) -> dict:
    now = str(time.time_ns())
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": name,
        "startTimeUnixNano": now,
        "endTimeUnixNano": now,
        **more,
    }


@pytest.fixture
def post(embedded):
    def one(body) -> dict:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = embedded.post(data, **{"Content-Type": "application/json"})
        return {"status": answer.status_code, **answer.json()}

    return one


def test_lone_surrogates_in_json_are_mended(embedded, post):
    spans = [
        json_span(
            "half \ud83d",
            1,
            attributes=[{"key": "k\udc80", "value": {"arrayValue": {"values": [{"stringValue": "v\ud800"}]}}}],
        ),
        json_span("whole \ud83d\ude00", 2),
    ]
    assert post(as_json("surrogates", scopeSpans=[{"spans": spans}])) == {"status": 200}
    rows = embedded.sql(
        "SELECT SpanName, SpanAttributes FROM otel_traces WHERE ServiceName = 'surrogates' ORDER BY SpanId"
    )
    assert rows == [["half �", {"k�": '["v�"]'}], ["whole \U0001f600", {}]]


def test_bytes_in_json_that_are_no_utf8_are_mended(embedded, post):
    body = json.dumps(as_json("latin", scopeSpans=[{"spans": [json_span("caf#", 3)]}])).encode().replace(b"#", b"\xe9")
    assert post(body) == {"status": 200}
    assert embedded.names("latin") == ["caf�"]


def test_json_nested_without_end_costs_at_most_its_own_span(embedded, post):
    marked = json.dumps(as_json("deepjson", scopeSpans=[{"spans": [
        json_span("deep", 4, attributes=[{"key": "a", "value": "HERE"}]), json_span("good", 5)]}]))  # fmt: skip
    deep = '{"arrayValue": {"values": [' * 200_000 + '{"stringValue": "in"}' + "]}}" * 200_000
    answer = post(marked.replace('"HERE"', deep).encode())
    assert answer["status"] == 200
    assert "good" in embedded.names("deepjson")
    some = '{"arrayValue": {"values": [' * 60 + '{"stringValue": "in"}' + "]}}" * 60
    assert post(marked.replace('"HERE"', some).encode())["status"] == 200


@pytest.mark.parametrize("odd", [{"kind": "HUGE"}, {"status": {"code": "HUGE"}}, {"startTimeUnixNano": "HUGE"}])
def test_a_number_that_is_none_costs_its_own_span(embedded, post, odd):
    service = f"huge-{next(iter(odd))}"
    marked = json.dumps(
        as_json(service, scopeSpans=[{"spans": [{**json_span("bad", 9), **odd}, json_span("good", 10)]}])
    )
    answer = post(marked.replace('"HUGE"', "1e400").encode())
    assert (answer["status"], answer["partialSuccess"]["rejectedSpans"]) == (200, "1")
    assert embedded.names(service) == ["good"]


@pytest.mark.parametrize("names", [
    ("instrumentationLibrarySpans", "instrumentationLibrary"), ("instrumentation_library_spans", "instrumentation_library"), ("scope_spans", "scope"),
])  # fmt: skip
def test_older_names_in_json_are_read(embedded, post, names):
    spans, scope = names
    assert post(as_json(spans, **{spans: [{scope: {"name": "lib"}, "spans": [json_span("old", 6)]}]})) == {
        "status": 200
    }
    assert embedded.sql("SELECT SpanName, ScopeName FROM otel_traces WHERE ServiceName = {s:String}", s=spans) == [
        ["old", "lib"]
    ]


def test_spans_under_two_names_are_all_read(embedded, post):
    both = {
        "scopeSpans": [{"spans": [json_span("a", 7)]}],
        "instrumentationLibrarySpans": [{"spans": [json_span("b", 8)]}],
    }
    assert post(as_json("both", **both)) == {"status": 200}
    assert embedded.names("both") == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"resourceSpan": [{"scopeSpans": []}]}, "resourceSpan"), ({"resourceMetrics": [{}]}, "resourceMetrics"),
        (as_json("x", scopespans=[{"spans": []}]), "scopespans"), (as_json("x", scopeSpans=[{"span": [json_span("a", 9)]}]), "span"),
    ],
)  # fmt: skip
def test_fields_that_would_lose_spans_are_refused_by_name(post, body, name):
    answer = post(body)
    assert answer["status"] == 400
    assert f"know no field '{name}'" in answer["message"]


def test_fields_that_lose_nothing_are_passed_over(embedded, post):
    body = {
        **as_json("new", scopeSpans=[{"spans": [json_span("a", 10, newer=[{"a": 1}])], "newer": [1]}], newer={"a": 1}),
        "newer": None,
    }
    assert post(body) == {"status": 200}
    assert embedded.names("new") == ["a"]


def test_too_many_attributes_cost_the_span_alone(embedded, send, span, request):
    service = f"many-{request.node.callspec.params['send']}"
    many = span("many").SerializeToString() + field(9, b"") * 4_000_000
    assert len(many) < 16 << 20
    count, text = send(raw_request(service.encode(), many, span("good").SerializeToString()))
    assert (count, text) == (1, "1 x span has more than 10,000 attributes, events or links")
    assert set(embedded.names(service)) == {"good"}


def test_bodies_over_the_limit_are_refused_by_both(embedded):
    body = bytes(17 << 20)
    answer = embedded.post(body)
    assert answer.status_code == 413
    assert "16 MiB" in answer.text
    with grpc.insecure_channel(
        f"{embedded.at.host}:{embedded.at.grpc_port}", options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")(body, timeout=60)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_sound_requests_are_read_as_protobuf_reads_them(span, request_of):
    value = AnyValue(
        array_value=ArrayValue(
            values=[AnyValue(string_value="ä"), AnyValue(double_value=0.5), AnyValue(bytes_value=b"\xff")]
        )
    )
    one = span("ä", attributes={"b": b"\xff\xfe", "n": -1})
    one.attributes.add(key="v").value.CopyFrom(value)
    whole = request_of("sound", one, span())
    assert parse_protobuf(whole.SerializeToString()) == (whole, {})
    # with one bad text elsewhere, everything else is the same
    broken = span("x").SerializeToString() + field(5, b"\xff")
    mended, rejected = parse_protobuf(whole.SerializeToString() + raw_request(b"other", broken))
    assert not rejected
    assert ExportTraceServiceRequest(resource_spans=mended.resource_spans[:1]) == whole
    assert parse_json(b"{}") == (ExportTraceServiceRequest(), {})
