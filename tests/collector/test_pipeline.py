"""Spans through agent and gateway into ClickHouse: who may send, what is kept through a kill, what is not stored."""

from __future__ import annotations

import subprocess

import parts
import pytest
import wire
from wire import FOLDER, request, span, stored

pytestmark = [pytest.mark.collector, pytest.mark.clickhouse]

SETTINGS = {"OTJOBS_TOKEN": "x", "OTJOBS_GATEWAY_ENDPOINT": "127.0.0.1:1"}
FIGURES = "SELECT * FROM jobs ORDER BY job_id", "SELECT * FROM attempts ORDER BY job_id, attempt"


@pytest.mark.parametrize("config", ["agent.yaml", "gateway.yaml"])
def test_the_configurations_are_valid(collector_binary, config):
    answer = subprocess.run(
        [collector_binary, "validate", "--config", FOLDER / config, "--config", FOLDER / "redaction.yaml"],
        env=SETTINGS,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert "deprecated" not in answer.stderr


@pytest.mark.parametrize("config", ["agent.yaml", "gateway.yaml"])
def test_a_configuration_without_its_token_does_not_start(collector_binary, config, tmp_path):
    env = {name: text for name, text in SETTINGS.items() if name != "OTJOBS_TOKEN"}
    env |= {"OTJOBS_QUEUE_DIRECTORY": str(tmp_path), "OTJOBS_METRICS_PORT": str(parts.free_port())}
    answer = subprocess.run(
        [collector_binary, "validate", "--config", FOLDER / config, "--config", FOLDER / "redaction.yaml"],
        env=env,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert answer.returncode != 0
    assert "token" in answer.stderr.lower()


def test_spans_pass_agent_and_gateway(tmp_path, collector_binary, gateway, store):
    with wire.running(wire.agent(collector_binary, tmp_path / "agent", f"127.0.0.1:{gateway.grpc}")) as agent:
        # The service has no token; the agent has.
        assert agent.post(request(*(span(job) for job in range(50))), token=None).status_code == 200
        stored(store, range(50))
    assert store.query("SELECT uniqExact(state), any(state), any(run_seconds) FROM jobs").rows == [
        (1, "succeeded", 1.0)
    ]


@pytest.mark.parametrize("token", [None, "another", ""])
def test_the_gateway_refuses_without_the_token(gateway, store, token):
    assert gateway.post(request(span("stranger")), token=token).status_code == 401
    assert gateway.post(request(span("friend"))).status_code == 200
    stored(store, ["friend"])


def test_the_gateway_refuses_over_grpc_without_the_token(gateway, store):
    import grpc
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

    with grpc.insecure_channel(f"127.0.0.1:{gateway.grpc}") as channel:
        stub = TraceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.Export(request(span("stranger")), timeout=10)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        stub.Export(request(span("friend")), metadata=[("authorization", f"Bearer {wire.TOKEN}")], timeout=10)
    stored(store, ["friend"])


def test_a_killed_gateway_loses_nothing_and_its_replay_changes_no_figure(tmp_path, collector_binary, clickhouse, store):
    # Given requests that were answered with success, and a SIGKILL at once
    gateway = wire.gateway(collector_binary, tmp_path / "gateway", clickhouse, store.database)
    with wire.running(gateway):
        sent = [request(*(span(n * 50 + i, seconds=0.5) for i in range(50))) for n in range(60)]
        for number, one in enumerate(sent):
            assert gateway.post(one).status_code == 200
            if number in (20, 40, 59):
                gateway.kill()
                gateway.start()
        stored(store, range(3000))
        before = [store.query(sql).rows for sql in FIGURES]
        # When everything is delivered twice more, otherwise cut and in another order
        everything = [s for one in sent for s in one.resource_spans[0].scope_spans[0].spans]
        for start in range(0, 3000, 700):
            assert gateway.post(request(*reversed(everything[start : start + 700]))).status_code == 200
        parts.wait_until(
            lambda: store.query("SELECT count() FROM otel_traces").rows[0][0] >= 6000,
            seconds=90,
            what="the repeated spans",
        )
    # Then the figures are the same
    assert [store.query(sql).rows for sql in FIGURES] == before
    assert len(before[0]) == 3000


def test_a_gateway_that_is_down_for_long_is_waited_for(tmp_path, collector_binary, clickhouse, store):
    gateway = wire.gateway(collector_binary, tmp_path / "gateway", clickhouse, store.database)
    agent = wire.agent(collector_binary, tmp_path / "agent", f"127.0.0.1:{gateway.grpc}")
    try:
        # Given an agent alone
        agent.start()
        for job in range(20):
            assert agent.post(request(span(job)), token=None).status_code == 200
        parts.wait_until(lambda: "Will retry" in agent.process.output(20000), seconds=90, what="a retry")
        # When it is killed too, and both come back
        agent.kill()
        agent.start()
        gateway.start()
        # Then nothing is missing, and nothing was given up
        stored(store, range(20), seconds=40)
        assert agent.metric("otelcol_exporter_send_failed_spans") == 0
    finally:
        agent.stop()
        gateway.stop()


def test_a_gateway_waits_for_clickhouse(tmp_path, collector_binary, clickhouse, store):
    port = parts.free_port()
    gateway = wire.gateway(
        collector_binary,
        tmp_path / "gateway",
        clickhouse,
        store.database,
        OTJOBS_CLICKHOUSE_ENDPOINT=f"tcp://127.0.0.1:{port}?dial_timeout=1s",
    )
    with wire.running(gateway):
        assert gateway.post(request(span("early"))).status_code == 200
        parts.wait_until(lambda: "refused" in gateway.process.output(20000), seconds=90, what="a refused connection")
        gateway.stop()
        gateway.settings["OTJOBS_CLICKHOUSE_ENDPOINT"] = f"tcp://127.0.0.1:{clickhouse.tcp_port}"
        gateway.start()
        stored(store, ["early"])


def test_a_full_queue_refuses_and_loses_nothing_it_took(tmp_path, collector_binary, clickhouse, store):
    # Given no ClickHouse and a queue of a few requests
    gateway = wire.gateway(
        collector_binary,
        tmp_path / "gateway",
        clickhouse,
        store.database,
        OTJOBS_QUEUE_REQUESTS="3",
        OTJOBS_CLICKHOUSE_ENDPOINT=f"tcp://127.0.0.1:{parts.free_port()}?dial_timeout=1s",
    )
    taken, refused = [], 0
    with wire.running(gateway):
        for job in range(12):
            try:
                status = gateway.post(request(span(job)), timeout=1).status_code
            except wire.requests.Timeout:
                status = 0
            taken += [job] if status == 200 else []
            refused += status != 200
        assert refused
        gateway.kill()
        gateway.settings["OTJOBS_CLICKHOUSE_ENDPOINT"] = f"tcp://127.0.0.1:{clickhouse.tcp_port}"
        gateway.start()
        parts.wait_until(
            lambda: {str(j) for j in taken} <= {r[0] for r in store.query("SELECT job_id FROM jobs").rows},
            seconds=90,
            what="what was taken",
        )
