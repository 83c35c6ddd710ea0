"""What must not be stored is not: every kind of secret, in every place of a span, through the agent and the gateway."""

from __future__ import annotations

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import parts
import pytest
import wire
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue, KeyValueList
from wire import NOW, request, span, value

from otjobs import attributes

pytestmark = [pytest.mark.collector, pytest.mark.clickhouse]

SECRET = "hunter2"
KEYS = (
    *("password", "PASSWORD", "db.password", "user_password", "passwd", "DB_PASSWD", "dbPassword", "ssh.passphrase"),
    *("secret", "client_secret", "clientSecret", "aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "private_key"),
    *("x-api-key", "API-KEY", "api_key", "apikey", "api.key", "X-Auth-Key", "account_key", "encryption-key", "token"),
    *("access_token", "refreshToken", "x-auth-token", "http.request.header.authorization", "Authorization", "Cookie"),
    *("http.response.header.set-cookie", "user.credentials", "credential", "redis.pwd", "sentry.dsn", "jwt"),
)
ARGUMENTS = (
    *("celery.args", "celery.kwargs", "celery.result", "messaging.message.body", "bullmq.job.data"),
    *("bullmq.job.result", "db.statement", "db.query.text"),
)
TEXTS = {
    "the password of an address": f"redis://someone:{SECRET}@db:6379/0",
    "a password without a user": f"redis://:{SECRET}@db:6379/0",
    "a password with a slash": f"amqp://someone:pa/{SECRET}@mq:5672//",
    "a password with an at sign": f"amqp://someone:p@{SECRET}@mq:5672//",
    "a password with a hash": f"amqp://someone:p#/{SECRET}@mq:5672//",
    "a user with an at sign": f"postgresql://me@corp.com:{SECRET}@db/x",
    "two addresses": f"amqp://a:one@h1//;amqp://b:{SECRET}@h2//",
    "a token in an address": f"GET https://api.test/v1?page=2&access_token={SECRET}&x=1",
    "a signature in an address": f"https://s3.test/b?X-Amz-Signature={SECRET}",
    "a key in an address": f"https://maps.test/?key={SECRET}",
    "a short bearer": f"Bearer {SECRET}",
    "a header": f"authorization: Basic {SECRET}",
    "a header with parts": f"Authorization: AWS4 Credential=x, Signature={SECRET}",
    "cookies": f"Cookie: theme=dark; sid={SECRET}",
    "a setting": f"DB_PASSWORD={SECRET}",
    "a setting with blanks": f"aws_secret_access_key = {SECRET}",
    "a quoted setting": f"password='one {SECRET}'",
    "JSON": f'{{"user": "x", "api_key": "one {SECRET}"}}',
    "JSON of a number": f'{{"password": 4711, "token": "{SECRET}"}}',
    "JSON in JSON": f'"{{\\"password\\": \\"{SECRET}\\"}}"',
    "a map below its name": f'{{"credentials": {{"user": "x", "value": "{SECRET}"}}}}',
    "a Python dict": f"Refused({{'x-api-key': '{SECRET}'}})",
    "a Python error": f"TypeError: connect(password={SECRET!r})",
    "an option": f"worker --redis-password {SECRET} --loglevel info",
    "options in a list": f'["worker", "--token", "{SECRET}"]',
}  # fmt: skip
LOOKS = {
    "Visa": "4111 1111 1111 1111",
    "Mastercard": "5105-1051-0510-5100",
    "American Express": "378282246310005",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N",
    "AWS": "AKIAIOSFODNN7EXAMPLE",
    "GitHub": "ghp_" + "a1B2" * 9,
    "GitLab": "glpat-" + "a1B2" * 5,
    "Slack": "xoxb-1234-" + "a1B2" * 4,
    "Stripe": "sk_" + "live_" + "a1B2" * 4,
    "Google": "AIza" + "a1B2" * 9,
    "a private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIB\n-----END RSA PRIVATE KEY-----",
}
PLACES = ("resource", "scope", "span", "event", "link", "map", "list", "deep")


def put(found, place: str, key: str, text: str) -> None:
    """Add an attribute to the one span of a request."""
    resource = found.resource_spans[0]
    scope = resource.scope_spans[0]
    one = scope.spans[0]
    if place == "event" and not one.events:
        one.events.add(name="exception", time_unix_nano=NOW)
    if place == "link" and not one.links:
        one.links.add(trace_id=b"l" * 16, span_id=b"l" * 8, trace_state="a=b")
    owner = {
        "resource": resource.resource, "scope": scope.scope, "event": one.events and one.events[0], "link": one.links and one.links[0],
    }.get(place) or one  # fmt: skip
    held = value(text)
    if place == "map":
        key, held = f"{key}s map", AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key=key, value=held)]))
    elif place == "list":
        held = value([1, held])
    elif place == "deep":
        inner = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key=key, value=held)]))
        key, held = (
            f"{key}s list",
            value([AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="x", value=inner)]))]),
        )
    owner.attributes.append(KeyValue(key=key, value=held))


class Sink(TraceServiceServicer):
    """Stands where the gateway would, and keeps what the agent sends."""

    def __init__(self):
        self.spans = {}

    def Export(self, found: ExportTraceServiceRequest, context):
        for resource in found.resource_spans:
            for scope in resource.scope_spans:
                for one in scope.spans:
                    job = next(a.value.string_value for a in one.attributes if a.key == "messaging.message.id")
                    self.spans[job] = (resource.resource, scope.scope, one)
        return ExportTraceServiceResponse()

    def wait(self, job: str) -> str:
        return str(parts.wait_until(lambda: self.spans.get(job), seconds=60, what=f"the span of {job}"))


@pytest.fixture(scope="module")
def by_agent(tmp_path_factory, collector_binary):
    """Send a request through an agent, and give all that came out as text."""
    sink, server = Sink(), grpc.server(ThreadPoolExecutor(4))
    add_TraceServiceServicer_to_server(sink, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    agent = wire.agent(collector_binary, tmp_path_factory.mktemp("privacy") / "agent", f"127.0.0.1:{port}")

    def through(found) -> str:
        assert agent.post(found, token=None).status_code == 200
        return sink.wait(job_of(found))

    through.keeps = lambda place: True
    with wire.running(agent):
        yield through
    server.stop(0)


@pytest.fixture(scope="module")
def by_gateway(tmp_path_factory, collector_binary, clickhouse):
    """Send a request through a gateway, and give all that ClickHouse stored as text."""
    from otjobs.backend.store import connect
    from otjobs.backend.store.migrate import migrate

    store = connect(clickhouse.database_url("privacy"))
    migrate(store)
    collector = wire.gateway(collector_binary, tmp_path_factory.mktemp("privacy") / "gateway", clickhouse, "privacy")

    def through(found) -> str:
        job = job_of(found)
        assert collector.post(found).status_code == 200

        def rows():
            sql = (
                "SELECT * EXCEPT Timestamp FROM otel_traces WHERE SpanAttributes['messaging.message.id'] = {job:String}"
            )
            return store.query(sql, {"job": job}).rows

        return repr(parts.wait_until(rows, seconds=60, every=0.2, what=f"the span of {job}"))

    through.keeps = lambda place: place != "scope"  # the exporter stores no attributes of scopes
    with wire.running(collector):
        yield through
    store.close()


def job_of(found) -> str:
    one = found.resource_spans[0].scope_spans[0].spans[0]
    return next(a.value.string_value for a in one.attributes if a.key == "messaging.message.id")


@pytest.fixture(params=["agent", "gateway"])
def through(request):
    return request.getfixturevalue(f"by_{request.param}")


@pytest.mark.parametrize("place", PLACES)
def test_an_attribute_that_is_named_like_a_secret_is_not_kept(through, place):
    found = request(span(f"keys-{place}"))
    for number, key in enumerate(KEYS):
        put(found, place, key, f"{SECRET}-{number}")
    put(found, place, "kept", "still here")
    text = through(found)
    assert re.findall(rf"{SECRET}-(\d+)", text) == [], [KEYS[int(n)] for n in re.findall(rf"{SECRET}-(\d+)", text)]
    if through.keeps(place):
        assert "still here" in text


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_inside_a_text_is_not_kept(through, place):
    found = request(span(f"texts-{place}"))
    for number, text in enumerate(TEXTS.values()):
        put(found, place, f"note{number}", text)
    text = through(found)
    left = [
        name
        for number, name in enumerate(TEXTS)
        if SECRET in re.split(rf"\bnote{number}\b", text)[-1][:400].split("note")[0]
    ]
    assert SECRET not in text, left
    if through.keeps(place):
        assert "db:6379" in text
        assert "page=2" in text


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_that_is_known_by_its_looks_is_not_kept(through, place):
    found = request(span(f"looks-{place}"))
    for number, text in enumerate(LOOKS.values()):
        put(found, place, f"note{number}", f"it was {text} then")
    text = through(found)
    assert [
        name
        for name, secret in LOOKS.items()
        if secret in text or secret.split("\n")[1:2] and secret.split("\n")[1] in text
    ] == []
    if through.keeps(place):
        assert text.count("then") == len(LOOKS)


@pytest.mark.parametrize("name", TEXTS)
def test_a_secret_in_the_texts_of_a_span_is_not_kept(through, name):
    found = request(span(f"span-{name}"))
    one = found.resource_spans[0].scope_spans[0].spans[0]
    one.name = f"run {TEXTS[name]}"
    one.status.code, one.status.message = 2, f"cannot: {TEXTS[name]}"
    event = one.events.add(name=f"seen {TEXTS[name]}", time_unix_nano=NOW)
    for key in ("exception.message", "exception.stacktrace"):
        event.attributes.add(key=key).value.string_value = f'Traceback:\n  File "x.py"\nError: {TEXTS[name]}'
    text = through(found)
    assert SECRET not in text
    assert "run " in text
    assert "cannot: " in text
    assert "seen " in text
    assert "x.py" in text
    assert "otjobs.text" not in text


def test_arguments_results_and_statements_are_not_kept(through):
    found = request(span("arguments", **{key.replace(".", "__"): SECRET for key in ARGUMENTS}))
    assert SECRET not in through(found)


def test_what_is_no_secret_is_kept_as_it_was(through):
    kept = {
        "note": "https://shop.test:8443/orders/7?page=2 of me@shop.test",
        "gen_ai.usage.input_tokens": "4111",
        "max_tokens": "tokens=100",
        "process.command_args": '["worker","-Q","orders"]',
        "plain": "the bearing of a keyboard",
    }
    found = request(span("kept", long="x" * 9000, **{key.replace(".", "__"): text for key, text in kept.items()}))
    one = found.resource_spans[0].scope_spans[0].spans[0]
    one.links.add(trace_id=b"l" * 16, span_id=b"l" * 8).attributes.add(key="kind").value.string_value = "a link's"
    one.links.add(trace_id=b"m" * 16, span_id=b"m" * 8)
    one.links.add(trace_id=b"n" * 16, span_id=b"n" * 8).attributes.add(key="kind").value.string_value = "a third's"
    one.events.add(name="its own", time_unix_nano=NOW)
    text = through(found)
    plain = text.replace("\\", "")
    for key, held in kept.items():
        assert key in plain
        assert held in plain
    assert "x" * 4096 in text
    assert "x" * 4097 not in text
    assert "a link" in text
    assert "a third" in text
    assert plain.count("its own") == 1


def test_links_and_events_come_out_as_they_went_in(by_gateway, by_agent):
    found = request(span("links"))
    one = found.resource_spans[0].scope_spans[0].spans[0]
    for number in range(3):
        link = one.links.add(trace_id=bytes([65 + number]) * 16, span_id=bytes([65 + number]) * 8)
        if number != 1:
            link.attributes.add(key="number").value.string_value = f"link {number}"
    one.events.add(name="first", time_unix_nano=NOW).attributes.add(key="number").value.string_value = "event 0"
    row = by_gateway(found)
    assert (
        "['41414141414141414141414141414141', '42424242424242424242424242424242', '43434343434343434343434343434343']"
        in row
    )
    assert "[{'number': 'link 0'}, {}, {'number': 'link 2'}]" in row
    assert "['first'], [{'number': 'event 0'}]" in row
    out = by_agent(found)
    assert out.count("events {") == 1 == out.count('"event 0"') == out.count('"link 2"')
    assert out.count("links {") == 3


def test_job_ids_and_times_are_never_taken_for_card_numbers(by_gateway):
    job = "4111111111111111"
    found = request(span(job, trace=b"1" * 16, otjobs__job__parent__id="5105105105105100", otjobs__group__id=job))
    text = by_gateway(found)
    assert text.count(job) == 2
    assert "5105105105105100" in text
    assert str(NOW - wire.SECOND) in text


def test_no_attribute_of_otjobs_is_named_like_a_secret():
    config = yaml.safe_load((wire.FOLDER / "redaction.yaml").read_text())
    patterns = config["processors"]["redaction"]["blocked_key_patterns"]
    assert any(re.search(pattern, "otjobs.label.api_key") for pattern in patterns)
    named = [
        name
        for name in vars(attributes).values()
        if isinstance(name, str) and name.startswith(("otjobs.", "messaging."))
    ]
    assert len(named) > 30
    assert [name for name in named if any(re.search(pattern, name) for pattern in patterns)] == []


@pytest.mark.parametrize("config", ["agent.yaml", "gateway.yaml"])
def test_a_collector_without_the_redaction_does_not_start(collector_binary, config, tmp_path):
    one = wire.Collector(collector_binary, tmp_path / "bare", config, OTJOBS_GATEWAY_ENDPOINT="127.0.0.1:1")
    one.shared = ()
    with contextlib.ExitStack() as stack, pytest.raises(RuntimeError, match="references processor"):
        stack.callback(one.stop)
        one.start()


def test_the_page_on_privacy_names_what_is_redacted():
    page = (Path(__file__).resolve().parents[2] / "docs" / "howto" / "privacy.md").read_text()
    for word in ("resource", "scope", "event", "link", "status", "otjobs up", *ARGUMENTS, *LOOKS):
        assert word in page, word
