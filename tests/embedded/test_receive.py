"""What goes in by either transport comes out as the collector's exporter would have stored it; bad input harms nobody else."""

from __future__ import annotations

import gzip
import json
import time
import zlib

import grpc
import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

DAY = 86_400 * 10**9


def grpc_export(embedded, request):
    with grpc.insecure_channel(f"{embedded.at.host}:{embedded.at.grpc_port}") as channel:
        return TraceServiceStub(channel).Export(request, timeout=60)


def test_a_span_becomes_one_row_of_22_columns(embedded, span, request_of):
    one = span(
        "dispatch x", kind=4, trace_id=bytes(range(16)), span_id=bytes(range(8)), parent_span_id=b"\x01" * 8, trace_state="a=b",
        start_time_unix_nano=1_700_000_000_123_456_789, end_time_unix_nano=1_700_000_001_123_456_789,
        attributes={"z": True, "b": 7, "a": "ä", "f": 0.5, "y": b"\x01"},
    )  # fmt: skip
    one.status.code = 2
    one.status.message = "bad"
    event = one.events.add(name="exception", time_unix_nano=1_700_000_000_500_000_000)
    event.attributes.add(key="k").value.int_value = 3
    one.links.add(trace_id=b"\x02" * 16, span_id=b"\x03" * 8, trace_state="c=d").attributes.add(
        key="l"
    ).value.string_value = "v"
    request = request_of("row", one)
    request.resource_spans[0].scope_spans[0].scope.version = "9"

    answer = embedded.post(request.SerializeToString())

    assert answer.status_code == 200
    assert ExportTraceServiceResponse.FromString(answer.content) == ExportTraceServiceResponse()
    (row,) = embedded.sql(
        "SELECT toUnixTimestamp64Nano(Timestamp), TraceId, SpanId, ParentSpanId, TraceState, SpanName, SpanKind, ServiceName,"
        " ResourceAttributes, ScopeName, ScopeVersion, toString(SpanAttributes), Duration, StatusCode, StatusMessage,"
        " arrayMap(t -> toUnixTimestamp64Nano(t), `Events.Timestamp`), `Events.Name`, `Events.Attributes`,"
        " `Links.TraceId`, `Links.SpanId`, `Links.TraceState`, `Links.Attributes`"
        " FROM otel_traces WHERE ServiceName = 'row'"
    )
    assert row == [
        1_700_000_000_123_456_789, "000102030405060708090a0b0c0d0e0f", "0001020304050607", "01" * 8, "a=b", "dispatch x", "Producer",
        "row", {"service.name": "row"}, "tests", "9", "{'a':'ä','b':'7','f':'0.5','y':'AQ==','z':'true'}", 10**9, "Error", "bad",
        [1_700_000_000_500_000_000], ["exception"], [{"k": "3"}], ["02" * 16], ["03" * 8], ["c=d"], [{"l": "v"}],
    ]  # fmt: skip


def test_grpc_stores_the_same(embedded, span, request_of):
    assert grpc_export(embedded, request_of("grpc", span("g", kind=5))) == ExportTraceServiceResponse()
    assert embedded.sql("SELECT SpanName, SpanKind FROM otel_traces WHERE ServiceName = 'grpc'") == [["g", "Consumer"]]


def test_line_feeds_anywhere_in_the_binary_data_are_data(embedded, span, request_of):
    # chDB cuts data that is part of a statement at an empty line; two lengths of 10 are one in a binary format
    spans = [span("\n\n" * 5, attributes={"k" * 10: "\n" * 10}) for _ in range(10)]
    assert embedded.rejected(embedded.post(request_of("feeds\n\n", *spans).SerializeToString())) == (0, "")
    assert embedded.names("feeds\n\n") == ["\n\n" * 5] * 10


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes), ("GZIP", gzip.compress)],
)
def test_known_compressions(embedded, span, request_of, encoding, pack):
    body = pack(request_of(f"enc-{encoding}", span("c")).SerializeToString())
    assert embedded.post(body, content_encoding=encoding).status_code == 200
    assert embedded.names(f"enc-{encoding}") == ["c"]


def test_unknown_compression_is_refused_by_name(embedded, span, request_of):
    answer = embedded.post(request_of("br", span()).SerializeToString(), content_encoding="br")
    assert answer.status_code == 415
    assert "'br' is not supported" in answer.text
    assert "gzip" in answer.text


def test_broken_and_cut_gzip_are_400(embedded, span, request_of):
    body = gzip.compress(request_of("cutgz", span()).SerializeToString())
    assert embedded.post(b"nonsense", content_encoding="gzip").status_code == 400
    assert embedded.post(body[:-9], content_encoding="gzip").status_code == 400
    assert embedded.names("cutgz") == []


def test_all_members_of_a_gzip_body_are_read(embedded, span, request_of):
    body = request_of("members", span("one"), span("two")).SerializeToString()
    in_parts = b"".join(gzip.compress(body[at : at + 50]) for at in range(0, len(body), 50))
    assert embedded.rejected(embedded.post(in_parts, content_encoding="gzip")) == (0, "")
    assert embedded.names("members") == ["one", "two"]
    assert embedded.post(in_parts + b"more", content_encoding="gzip").status_code == 400


def test_a_body_that_inflates_without_end_is_413(embedded):
    assert embedded.post(gzip.compress(bytes(70 << 20)), content_encoding="gzip").status_code == 413


def test_truncated_protobuf_is_400_and_the_server_goes_on(embedded, span, request_of):
    body = request_of("cut", span(attributes={"a": "b" * 100})).SerializeToString()
    answer = embedded.post(body[:-5])
    assert answer.status_code == 400
    assert "not a valid OTLP trace request" in answer.text
    with grpc.insecure_channel(f"{embedded.at.host}:{embedded.at.grpc_port}") as channel:
        raw = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.RpcError) as caught:
            raw(body[:-5], timeout=30)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert embedded.names("cut") == []
    assert embedded.post(request_of("cut", span("after")).SerializeToString()).status_code == 200
    assert embedded.names("cut") == ["after"]


def test_foreign_content_type_is_415(embedded):
    assert embedded.post(b"a=b", **{"Content-Type": "application/x-www-form-urlencoded"}).status_code == 415


def test_spans_with_impossible_ids_are_counted_and_their_neighbours_kept(embedded, span, request_of):
    request = request_of(
        "ids", span("good 1"), span("bad", trace_id=bytes(16)), span("bad", trace_id=b"short"), span("bad", span_id=bytes(8)),
        span("good 2", parent_span_id=b"odd"), span("bad", trace_id=b""),
    )  # fmt: skip
    count, reason = embedded.rejected(embedded.post(request.SerializeToString()))
    assert count == 4
    assert reason == "1 x span id is not 8 bytes or all zero, 3 x trace id is not 16 bytes or all zero"
    assert embedded.names("ids") == ["good 1", "good 2"]
    assert grpc_export(embedded, request).partial_success.rejected_spans == 4


def test_times_of_all_ages_and_a_year_of_days_in_one_batch(embedded, span, request_of):
    now = time.time_ns()
    spans = [
        span("1970", start_time_unix_nano=0, end_time_unix_nano=5),
        span("2200", start_time_unix_nano=7_258_118_400 * 10**9),
    ]
    spans += [span("end first", start_time_unix_nano=now, end_time_unix_nano=now - 1_000)]
    spans += [span("beyond", start_time_unix_nano=(1 << 64) - 1, end_time_unix_nano=0)]
    names = ("otjobs.job.enqueued_at", "otjobs.job.published_at", "otjobs.job.due_at")
    for day in range(366):
        start = now - day * DAY
        attributes = {
            "messaging.system": "celery", "messaging.operation.type": "process", "messaging.destination.name": "q",
            "messaging.message.id": str(day), "otjobs.job.type": "t", "otjobs.job.attempt": 1, "otjobs.job.outcome": "success",
            **dict.fromkeys(names, start),
        }  # fmt: skip
        spans.append(span("day", start_time_unix_nano=start, end_time_unix_nano=start + 1, attributes=attributes))
    assert embedded.rejected(embedded.post(request_of("ages", *spans).SerializeToString())) == (0, "")
    rows = dict(
        embedded.sql(
            "SELECT SpanName, (count(), uniqExact(toDate(Timestamp)), max(Duration)) FROM otel_traces WHERE ServiceName = 'ages' GROUP BY 1"
        )
    )
    assert rows["1970"] == [1, 1, 5]
    assert rows["2200"][0] == 1
    assert rows["beyond"][0] == 1
    assert rows["end first"] == [1, 1, (1 << 64) - 1_000]
    assert rows["day"] == [366, 366, 1]


def test_wrong_attribute_types_are_stored_as_they_are(embedded, span, request_of):
    names = (
        "otjobs.job.enqueued_at",
        "otjobs.job.attempt",
        "otjobs.job.dispatched",
        "otjobs.workflow.id",
        "messaging.message.id",
    )
    spans = [
        span(
            str(number),
            attributes={**dict.fromkeys(names, value), "messaging.operation.type": "process", "messaging.system": "x"},
        )
        for number, value in enumerate(("yesterday", True, 1.5, -1, b"\xff", "9" * 40, "", 1 << 62))
    ]
    assert embedded.rejected(embedded.post(request_of("types", *spans).SerializeToString())) == (0, "")
    rows = embedded.sql(
        "SELECT SpanAttributes['otjobs.job.attempt'] FROM otel_traces WHERE ServiceName = 'types' ORDER BY SpanName"
    )
    assert [row[0] for row in rows] == ["yesterday", "true", "1.5", "-1", "/w==", "9" * 40, "", str(1 << 62)]


def test_ten_thousand_spans_in_one_request(embedded, span, request_of):
    request = request_of("many", *(span(attributes={"n": n, "text": "x" * 100}) for n in range(10_000)))
    assert embedded.rejected(embedded.post(request.SerializeToString())) == (0, "")
    counts = "SELECT count(), uniqExact(SpanId) FROM otel_traces WHERE ServiceName = 'many'"
    assert embedded.sql(counts) == [[10_000, 10_000]]
    # Sent once more, as after a lost answer: the same block is not stored twice.
    assert grpc_export(embedded, request) == ExportTraceServiceResponse()
    assert embedded.sql(counts) == [[10_000, 10_000]]


def _json_span(name: str, number: int, **more):
    known = {"traceId": f"{number:032X}", "spanId": f"{number:016x}", "name": name, "kind": 4, "startTimeUnixNano": str(time.time_ns()), "endTimeUnixNano": time.time_ns()}  # fmt: skip
    return {**known, **more}


def _json_body(service: str, *spans) -> bytes:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return json.dumps(
        {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "j"}, "spans": spans}], "new": 1}]}
    ).encode()


def test_json_is_understood_and_answered_in_json(embedded):
    attributes = [
        {"key": "n", "value": {"intValue": "12"}},
        {"key": "l", "value": {"arrayValue": {"values": [{"boolValue": True}]}}},
    ]
    body = _json_body("json", _json_span("a", 0xABC, attributes=attributes, parentSpanId="", unknownField=[1]))
    answer = embedded.post(body, **{"Content-Type": "application/json; charset=utf-8"})
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["content-type"].startswith("application/json")
    assert embedded.sql(
        "SELECT TraceId, SpanId, ParentSpanId, SpanKind, SpanAttributes FROM otel_traces WHERE ServiceName = 'json'"
    ) == [[f"{0xABC:032x}", f"{0xABC:016x}", "", "Producer", {"l": "[true]", "n": "12"}]]


def test_json_spans_that_cannot_be_read_do_not_cost_their_neighbours(embedded):
    spans = [_json_span("good", 1), _json_span("no hex", 2, traceId="zz"), _json_span("zero", 3, spanId="0" * 16)]
    spans += [_json_span("type", 4, startTimeUnixNano="yesterday"), "no span at all", _json_span("also good", 5)]
    answer = embedded.post(_json_body("badjson", *spans), **{"Content-Type": "application/json"})
    partial = answer.json()["partialSuccess"]
    assert partial["rejectedSpans"] == "4"
    assert "2 x span does not follow the OTLP JSON mapping" in partial["errorMessage"]
    assert embedded.names("badjson") == ["also good", "good"]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"\xff", b'{"resourceSpans": 3}', b'{"resourceSpans": [4]}', b"[" * 100_000]
)
def test_garbage_json_is_400(embedded, body):
    answer = embedded.post(body, **{"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["message"]


def test_metrics_and_logs_are_taken_so_that_exporters_do_not_fail(embedded):
    for path in ("/v1/metrics", "/v1/logs"):
        answer = embedded.post(b"\x0a\x00", path)
        assert (answer.status_code, answer.content) == (200, b"")
    with grpc.insecure_channel(f"{embedded.at.host}:{embedded.at.grpc_port}") as channel:
        for service in ("metrics.v1.MetricsService", "logs.v1.LogsService"):
            assert (
                channel.unary_unary(f"/opentelemetry.proto.collector.{service}/Export")(b"\x0a\x00", timeout=30) == b""
            )


def test_web_pages_are_kept_out(embedded):
    for port in (embedded.at.http_port, embedded.at.sql_port):
        url = f"http://{embedded.at.host}:{port}/"
        assert (
            requests.post(url, data="SELECT 1", headers={"Origin": "https://example.com"}, timeout=10).status_code
            == 403
        )
        assert (
            requests.post(url, data="SELECT 1", headers={"Host": "rebound.example.com"}, timeout=10).status_code == 403
        )
