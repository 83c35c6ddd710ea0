"""An error names the real thing and the way out; `doctor` says ok only of what works."""

from __future__ import annotations

import http.server
import json
import threading

import clickhouses
import parts
import pytest
from running import invoke, run

from otjobs.backend.server import Server
from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate
from otjobs.backend.store.roles import grant

USERS = {"writer": "w/r@i#t%e", "reader": "r"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with the accounts of otjobs; `oldest` makes accounts by SQL."""
    with clickhouses.clickhouse_server(tmp_path_factory.mktemp("errors") / "server", engine="oldest") as found:
        store = connect(found.database_url("otjobs"))
        migrate(store)
        grant(store, USERS)
        store.close()
        yield found


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    parts.require("chdb")
    with Server(tmp_path_factory.mktemp("errors") / "data") as found:
        yield found


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.clickhouse)])
def url(request):
    found = request.getfixturevalue(request.param)
    return found.endpoints.url if request.param == "embedded" else found.database_url("otjobs")


def as_user(server, account: str, database: str = "otjobs") -> str:
    return f"http://{account}@127.0.0.1:{server.http_port}/{database}"


def refused(done) -> str:
    assert (done.status, done.out) == (1, ""), done
    assert done.err.count("\n") == 1
    for noise in ("Received ClickHouse exception", "for url", "DB::Exception", "version 2"):
        assert noise not in done.err
    return done.err


def test_statements_on_one_line_are_two(url):
    assert invoke("sql", "--format", "tsv", "SELECT 1 AS a; SELECT 2 AS b", url=url).out == "a\n1\nb\n2\n"
    assert (
        invoke("sql", "--format", "tsv", "SELECT 'a;b' AS a; -- ; no\nSELECT 2 AS b;", url=url).out == "a\na;b\nb\n2\n"
    )
    assert (
        invoke("sql", "--format", "tsv", "SELECT 'it''s;' AS a /* ; */, `x;` FROM (SELECT 1 AS `x;`)", url=url).out
        == "a\tx;\nit's;\t1\n"
    )


@pytest.mark.parametrize(
    "text", ["SET max_threads = 1", "set max_threads = 1; SELECT 2", "/* so */ USE system", "SELECT 1; SET x = 2"]
)
def test_a_setting_that_would_be_forgotten_is_refused_with_what_to_write(url, text):
    done = invoke("sql", text, url=url)
    assert done.status == 1
    assert "would be forgotten before the next statement; write SETTINGS name = value" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("jobs", "seconds=abc"), "Value abc cannot be parsed as UInt32 for query parameter 'seconds'"),
        (("jobs", "seconds=-5"), "Value -5 cannot be parsed as UInt32 for query parameter 'seconds'"),
        (("jobs", "seconds="), "query parameter 'seconds'"),
        (("jobs", "limit=1e9"), "query parameter 'limit'"),
    ],
)
def test_a_value_that_a_parameter_cannot_have_is_named(url, arguments, message):
    text = refused(invoke("sql", "--named", arguments[0], "--param", arguments[1], url=url))
    assert message in text
    assert text.endswith("; what each parameter takes: otjobs sql --list\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("jobs", "sort=colour"),
            "otjobs: sort of query 'jobs' cannot be 'colour'; it is one of: newest, runtime, wait\n",
        ),
        (
            ("jobs", "state=asleep"),
            "otjobs: state of query 'jobs' cannot be 'asleep'; it is one of: scheduled, waiting, ",
        ),
        (
            ("workflows", "only=some"),
            "otjobs: only of query 'workflows' cannot be 'some'; it is one of: open, complete, failed\n",
        ),
        (("workflows", "sort=x"), "otjobs: sort of query 'workflows' cannot be 'x'; it is one of: newest, slowest\n"),
        (("jobs", "colour=red"), "otjobs: query 'jobs' has no parameter colour; it has: "),
    ],
)
def test_a_value_that_is_none_of_the_choices_is_refused(url, arguments, message):
    assert refused(invoke("sql", "--named", arguments[0], "--param", arguments[1], url=url)).startswith(message)


def test_a_wrong_password_is_called_so_by_every_command(server):
    for account in ("otjobs_reader:wrong/secret#word", "nobody:wrong/secret#word", "default:wrong/secret#word"):
        for command in (
            ("queues",),
            ("job", "1"),
            ("sql", "SELECT 1"),
            ("migrate",),
            ("rebuild",),
            ("forget", "--label", "a=b"),
        ):
            text = refused(invoke(*command, url=as_user(server, account)))
            assert text.startswith(f"otjobs: the account of http://{account.partition(':')[0]}:***@127.0.0.1:")
            assert "Authentication failed" in text
            assert "--url or OTJOBS_URL" in text
            assert "no database answers" not in text
            assert "secret" not in text


def test_a_wrong_token_of_the_embedded_server_is_called_so(embedded):
    text = refused(invoke("queues", url=embedded.endpoints.url.replace("http://", "http://owner:wrong@")))
    assert "the account of http://owner:***@" in text
    assert "owner.token" in text


def test_missing_rights_are_named_with_the_account(server):
    reader, writer = as_user(server, "otjobs_reader:r"), as_user(server, f"otjobs_writer:{USERS['writer']}")
    for url, command, missing in [
        (reader, ("sql", "INSERT INTO otel_traces (TraceId) VALUES ('x')"), "INSERT"),
        (reader, ("sql", "DROP TABLE otel_traces"), "DROP TABLE"),
        (reader, ("migrate",), "CREATE DATABASE"),
        (reader, ("forget", "--label", "a=b"), "CREATE TABLE"),
        (writer, ("queues",), "SELECT"),
        (writer, ("jobs",), "SELECT"),
        (writer, ("sql", "SELECT count() FROM jobs"), "SELECT"),
    ]:
        text = refused(invoke(*command, url=url))
        assert "Not enough privileges" in text, text
        assert f"the grant {missing}" in text, text
        assert "otjobs_reader" in text or "otjobs_writer" in text
        assert text.endswith("; use an account that may, in --url or OTJOBS_URL\n")


def test_a_database_that_is_not_there_is_named(server):
    url = server.database_url("nothere")
    assert "the database nothere at http://default:***@" in refused(invoke("queues", url=url))
    checks = checked(url)
    assert checks["schema"]["verdict"] == "broken"
    assert checks["schema"]["next"] == "otjobs migrate"
    assert "inserts" not in checks


def checked(url, status=1, **env):
    done = run("doctor", "--json", url=url, env=env)
    assert done.status == status, done
    return {row["check"]: row for row in json.loads(done.out)}


def test_doctor_says_what_an_account_cannot_tell(server):
    found = checked(as_user(server, "otjobs_reader:r"), status=0)
    assert found["schema"]["verdict"] == "ok"
    assert found["inserts"]["verdict"] == "check"
    assert "may not insert" in found["inserts"]["found"]
    assert checked(server.database_url("otjobs"), status=0)["inserts"]["verdict"] == "ok"


def test_doctor_sees_that_inserts_are_refused_for_want_of_disk(tmp_path):
    # Given a server that has to keep more space free than its disk has
    data = tmp_path / "server" / "data"
    with clickhouses.clickhouse_server(tmp_path / "server") as server:
        store = connect(server.database_url("otjobs"))
        migrate(store)
        store.close()
        assert checked(server.database_url("otjobs"), status=0)["inserts"]["verdict"] == "ok"
        server.stop()
        server.config = tmp_path / "config.xml"
        server.config.write_text(
            "<clickhouse><storage_configuration><disks><default><keep_free_space_bytes>9000000000000000000"
            "</keep_free_space_bytes></default></disks></storage_configuration></clickhouse>"
        )
        assert data.exists()
        server.start()
        found = checked(server.database_url("otjobs"))
        assert found["database"]["verdict"] == found["schema"]["verdict"] == "ok"
        assert found["inserts"]["verdict"] == "broken"
        assert "not enough space" in found["inserts"]["found"]


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Answers with the status in its path, 200 to who has the token."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status = int(self.path.split("/")[1])
        if self.path != f"/{status}/v1/traces":
            status = 418
        elif status == 401 and self.headers["Authorization"] == "Bearer the token":
            status = 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/200/v1/traces")
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"so\x1b")

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def endpoint():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


@pytest.mark.parametrize("status", [302, 400, 401, 404, 405, 500, 503])
def test_doctor_takes_no_answer_but_200_for_ok(embedded, endpoint, status):
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{endpoint}/{status}/", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    found = checked(embedded.endpoints.url, **env)["endpoint"]
    assert found["verdict"] == "broken"
    assert f"answers {status} to spans" in found["found"]
    assert found["next"]


def test_doctor_sends_as_the_service_would(embedded, endpoint):
    url, protocol = embedded.endpoints.url, {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    token = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20the%20token"}
    traces = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{endpoint}/200/v1/traces"}
    assert (
        checked(url, status=0, OTEL_EXPORTER_OTLP_ENDPOINT=f"{endpoint}/401", **token, **protocol)["endpoint"][
            "verdict"
        ]
        == "ok"
    )
    assert checked(url, status=0, **traces, **protocol)["endpoint"]["verdict"] == "ok"
    real = embedded.endpoints.otlp_http
    assert checked(url, status=0, OTEL_EXPORTER_OTLP_ENDPOINT=real, **protocol)["endpoint"]["verdict"] == "ok"
    wrong = real.replace("http://", "http://me:se/cret@") + "/wrong"
    text = str(checked(url, OTEL_EXPORTER_OTLP_ENDPOINT=wrong, **protocol))
    assert "cret" not in text
    # The SQL port is none
    assert (
        checked(url, OTEL_EXPORTER_OTLP_ENDPOINT=url.removesuffix("/otjobs"), **protocol)["endpoint"]["verdict"]
        == "broken"
    )
