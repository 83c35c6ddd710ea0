"""Who may write, and who may ask from elsewhere: the tokens of the owner and of other machines."""

from __future__ import annotations

import stat

import pytest
import requests

from otjobs.backend.server import Server
from otjobs.backend.store import token
from otjobs.errors import ServerError


def test_the_owner_is_asked_for_the_token(embedded):
    url = f"http://{embedded.at.host}:{embedded.at.sql_port}/"
    for auth in (("owner", ""), ("owner", "guess")):
        answer = requests.post(url, data="SELECT 1", auth=auth, timeout=10)
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
        assert "owner.token" in answer.text
    for given in (
        {"auth": embedded.owner},
        {"params": {"user": "owner", "password": embedded.at.owner_token}},
        {"headers": {"X-ClickHouse-User": "owner", "X-ClickHouse-Key": embedded.at.owner_token}},
    ):
        assert requests.post(url, data="SELECT file('/etc/hostname') != ''", timeout=10, **given).text == "1\n"


def test_the_token_is_where_only_this_user_can_read_it(start, tmp_path):
    client = start()
    folder = tmp_path / "data"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    file = folder / "owner.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() == client.at.owner_token == token.known(client.at.sql_port)
    port, first = client.at.sql_port, client.at.owner_token
    client.server.stop()
    assert token.known(port) == ""
    assert start().at.owner_token != first


def test_a_token_that_others_could_have_written_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    token.remember(1, "mine")
    assert token.known(1) == "mine"
    (tmp_path / "otjobs" / "1.token").chmod(0o644)
    assert token.known(1) == ""


def test_a_folder_that_others_can_read_is_tightened_or_refused(start, tmp_path):
    (tmp_path / "data").mkdir(mode=0o755)
    start().server.stop()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    (tmp_path / "data").chmod(0o777)  # of an otjobs that did not know better
    start().server.stop()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    (shared / "thesis.txt").write_text("x")
    with pytest.raises(ServerError, match="holds other things.*--data.*chmod 700"):
        Server(shared).start()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755


def test_from_other_machines_every_port_asks_for_a_token(start, span, request_of, tmp_path):
    import grpc
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

    client = start(host="0.0.0.0", allow_remote=True)
    access = (tmp_path / "data" / "access.token").read_text().strip()
    assert access == client.at.access_token != client.at.owner_token
    sql, otlp = f"http://127.0.0.1:{client.at.sql_port}/", f"http://127.0.0.1:{client.at.http_port}/v1/traces"
    body = request_of("remote", span("r"))
    bearer = {"Authorization": f"Bearer {access}"}
    kind = {"Content-Type": "application/x-protobuf"}

    assert requests.post(sql, data="SELECT 1", timeout=10).status_code == 401
    assert requests.post(sql, data="SELECT 1", auth=("default", "guess"), timeout=10).status_code == 401
    assert requests.post(otlp, data=body.SerializeToString(), headers=kind, timeout=30).status_code == 401
    with grpc.insecure_channel(f"127.0.0.1:{client.at.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            TraceServiceStub(channel).Export(body, timeout=30)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        TraceServiceStub(channel).Export(body, timeout=30, metadata=[("authorization", f"Bearer {access}")])
    sent = request_of("remote", span("s")).SerializeToString()
    assert requests.post(otlp, data=sent, headers={**kind, **bearer}, timeout=30).status_code == 200
    query = "SELECT count() FROM otel_traces WHERE ServiceName = 'remote'"
    assert requests.post(sql, data=query, headers=bearer, timeout=10).text == "2\n"
    assert requests.post(sql, data=query, auth=("grafana", access), timeout=10).text == "2\n"
    # the token to send and to read with does not write
    assert requests.post(sql, data="DROP TABLE otel_traces", auth=("grafana", access), timeout=10).status_code == 403
    assert requests.get(sql, headers={"Sec-Fetch-Site": "cross-site", **bearer}, timeout=10).status_code == 403
    client.server.stop()
    assert start(host="0.0.0.0", allow_remote=True).at.access_token == access
