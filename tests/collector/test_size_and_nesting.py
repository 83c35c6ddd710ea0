"""No request can end the collector or fill its memory: size and nesting are bounded before anything is decoded."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clickhouses
import grpc
import pytest
import wire
from wire import request, span, stored

pytestmark = [pytest.mark.collector, pytest.mark.clickhouse]

MIB = 1 << 20
SIZE, DEPTH = 4 * MIB, 64
# Field numbers on the way from a request to an attribute of each owner.
OWNERS = {"resource": (1, 1, 1), "scope": (1, 2, 1, 3), "span": (1, 2, 2, 9), "event": (1, 2, 2, 11, 3), "link": (1, 2, 2, 13, 4)}  # fmt: skip


def field(number: int, size: int) -> bytes:
    """The head of a length-delimited field."""
    out = bytearray([number << 3 | 2])
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes(out) + bytes([size])


def wrapped(inner: bytes, *path: int) -> bytes:
    """Put bytes into fields, the innermost last."""
    heads, size = [], len(inner)
    for number in reversed(path):
        heads.append(field(number, size))
        size += len(heads[-1])
    return b"".join(reversed(heads)) + inner


def nested(depth: int, *, kind: str = "list", owner: str = "span", job: str = "deep") -> bytes:
    """A request whose one span has an attribute of so many lists or maps in each other."""
    level = (5, 1) if kind == "list" else (6, 1, 2)
    # A map holds keys; the keys are left out.
    text = b"\x0a\x01x"
    whole = wrapped(text, *OWNERS[owner], 2, *(level * depth))
    # Protobuf merges what comes in pieces: the span's own fields follow it, in a request that is appended.
    return request(span(job)).SerializeToString() + whole


def export(collector, body: bytes):
    """Send a request over gRPC as it is; give the status."""
    with grpc.insecure_channel(f"127.0.0.1:{collector.grpc}") as channel:
        call = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        try:
            call(body, metadata=[("authorization", f"Bearer {wire.TOKEN}")], timeout=60)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def fat(size: int, job: str = "fat") -> bytes:
    """A request of exactly so many bytes."""
    one = request(span(job, fat="x" * size))
    held = one.resource_spans[0].scope_spans[0].spans[0].attributes[-1].value
    while len(one.SerializeToString()) > size:  # lengths are written in as few bytes as they need
        held.string_value = "x" * (len(held.string_value) + size - len(one.SerializeToString()))
    body = one.SerializeToString()
    assert len(body) == size
    return body


def most_memory(collector) -> float:
    """The most MiB that the process ever held."""
    text = Path(f"/proc/{collector.process.pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.fixture(scope="module")
def shared(tmp_path_factory, collector_binary, clickhouse):
    """A store, and an agent and a gateway in front of it."""
    from otjobs.backend.store import connect
    from otjobs.backend.store.migrate import migrate

    folder = tmp_path_factory.mktemp("limits")
    found = connect(clickhouse.database_url("limits"))
    migrate(found)
    gateway = wire.gateway(collector_binary, folder / "gateway", clickhouse, "limits")
    agent = wire.agent(collector_binary, folder / "agent", f"127.0.0.1:{gateway.grpc}")
    with wire.running(gateway, agent):
        yield {"store": found, "gateway": gateway, "agent": agent}
    found.close()


@pytest.fixture
def store(shared):
    clickhouses.empty(shared["store"])
    return shared["store"]


@pytest.fixture(params=["agent", "gateway"])
def collector(request, shared):
    yield shared[request.param]
    assert shared[request.param].process.running()


def test_a_request_of_four_mebibytes_is_taken_and_one_byte_more_is_not(collector, store):
    assert collector.post(fat(SIZE, "by http")).status_code == 200
    assert export(collector, fat(SIZE, "by grpc")) == grpc.StatusCode.OK
    assert collector.post(fat(SIZE + 1)).status_code == 400
    assert collector.post(gzip.compress(fat(SIZE + 1)), Content_Encoding="gzip").status_code == 400
    assert export(collector, fat(SIZE + 1)) == grpc.StatusCode.RESOURCE_EXHAUSTED
    stored(store, ["by http", "by grpc"], seconds=60)


@pytest.mark.parametrize("kind", ["list", "map"])
@pytest.mark.parametrize("owner", OWNERS)
def test_a_value_nested_too_deep_is_refused_for_good_and_one_level_less_is_stored(collector, store, owner, kind):
    assert collector.post(nested(DEPTH + 1, owner=owner, kind=kind)).status_code == 400
    assert export(collector, nested(DEPTH + 1, owner=owner, kind=kind)) == grpc.StatusCode.INTERNAL
    assert collector.post(nested(DEPTH, owner=owner, kind=kind, job="by http")).status_code == 200
    assert export(collector, nested(DEPTH, owner=owner, kind=kind, job="by grpc")) == grpc.StatusCode.OK
    stored(store, ["by http", "by grpc"], seconds=60)


def test_no_depth_ends_the_collector_or_takes_its_memory(collector, store):
    # Given the deepest values that fit, and the million levels that once ended it, many at once
    fits = 1000
    while len(nested(fits * 2)) <= SIZE:
        fits *= 2
    bodies = [nested(depth, kind=kind) for depth in (fits, 1000, 1_000_000) for kind in ("list", "map")]
    before = most_memory(collector)
    with ThreadPoolExecutor(8) as pool:
        plain = list(pool.map(lambda body: collector.post(body, timeout=120).status_code, bodies * 4))
        packed = list(
            pool.map(
                lambda body: collector.post(gzip.compress(body), Content_Encoding="gzip", timeout=120).status_code,
                bodies * 2,
            )
        )
        by_grpc = list(pool.map(lambda body: export(collector, body), bodies * 4))
    # Then each is refused for good, and neither stack nor heap grew with the depth
    assert set(plain) | set(packed) == {400}
    assert set(by_grpc) == {grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert most_memory(collector) < before + 200
    # And others are served
    assert collector.post(request(span("after"))).status_code == 200
    stored(store, ["after"], seconds=60)


@pytest.mark.parametrize("depth", [5000, 100_000])
def test_json_nested_too_deep_is_refused_for_good(collector, store, depth):
    head, tail = '{"arrayValue":{"values":[', "]}}"
    text = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": [{"key": "deep", "value": 0}]}]}]}]})
    body = text.replace('"value": 0', '"value": ' + head * depth + '{"stringValue": "x"}' + tail * depth).encode()
    assert len(body) < SIZE
    assert collector.post(body, Content_Type="application/json").status_code == 400
    assert collector.post(request(span("after"))).status_code == 200
    stored(store, ["after"], seconds=60)


def test_the_memory_limit_holds_under_a_flood_of_the_largest_requests(tmp_path, collector_binary, clickhouse, store):
    # Given the default limit of 1,024 MiB, no ClickHouse, and more than that at once
    gateway = wire.gateway(
        collector_binary, tmp_path / "gateway", clickhouse, "limits", OTJOBS_CLICKHOUSE_ENDPOINT="tcp://127.0.0.1:1"
    )
    with wire.running(gateway):
        body = request(*(span(f"fat{number}", note="y" * 4000) for number in range(900))).SerializeToString()
        assert SIZE * 0.9 < len(body) <= SIZE
        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(lambda _: gateway.post(body, timeout=250).status_code, range(48)))
        assert set(statuses) <= {200, 503}
        assert most_memory(gateway) < 1024


def test_what_is_refused_was_never_taken(collector, store):
    assert collector.post(nested(DEPTH + 1, job="refused")).status_code == 400
    assert collector.post(request(span("after"))).status_code == 200
    stored(store, ["after"], seconds=60)
    assert collector.metric("otelcol_exporter_send_failed_spans") == 0
