"""A hostile page in a real browser on this machine, against all three ports."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import threading
import time
from urllib.parse import quote

import parts
import pytest
import requests

SECRET = "line-of-the-password-file"

# What the page tries; it reports on its own port, with what it could read, when all tries have ended.
PAGE = """<!doctype html><title>hostile</title><body><script>
const tries = %(tries)s, seen = [];
const note = (name, what) => seen.push([name, String(what).slice(0, 300)]);
const image = url => new Promise(done => { const i = new Image(); i.onload = () => done("loaded"); i.onerror = () => done("error"); i.src = url; });
const script = url => new Promise(done => { const s = document.createElement("script"); s.onload = () => done("ran"); s.onerror = () => done("error");
  s.src = url; document.body.append(s); });
const form = (url, kind, name, value) => new Promise(done => { const frame = document.createElement("iframe"); frame.name = "f" + Math.random();
  const f = document.createElement("form"); f.action = url; f.method = "POST"; f.enctype = kind; f.target = frame.name;
  const field = document.createElement("textarea"); field.name = name; field.value = value; f.append(field);
  document.body.append(frame, f); frame.onload = () => done("sent"); setTimeout(() => done("sent"), 3000); f.submit(); });
(async () => {
  for (const [name, how, url, body] of tries) {
    try {
      if (how === "img") note(name, await image(url));
      else if (how === "script") note(name, await script(url));
      else if (how === "form") { await form(url, "text/plain", body.slice(0, 20), body); await form(url, "application/x-www-form-urlencoded", "query", body);
        note(name, "sent"); }
      else if (how === "beacon") note(name, navigator.sendBeacon(url, new Blob([body], {type: "text/plain"})));
      else if (how === "navigate") note(name, await new Promise(done => { const w = document.createElement("iframe"); w.src = url;
        w.onload = () => { try { done(w.contentDocument.body.innerText) } catch (e) { done("hidden") } }; setTimeout(() => done("no load"), 3000);
        document.body.append(w); }));
      else { const answer = await fetch(url, {method: body ? "POST" : "GET", mode: how, body: body || undefined,
        headers: how === "cors" && body ? {"Content-Type": "application/json"} : {}}); note(name, answer.type + " " + await answer.text()); }
    } catch (e) { note(name, "failed: " + e); }
  }
  await fetch("/report", {method: "POST", body: JSON.stringify(seen)});
})();
</script>"""


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.server.report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def visit(tmp_path):
    """Opens a page with those tries in Chromium, and returns what the page saw."""
    parts.require("chromium")

    def one(tries: list[tuple[str, ...]], host: str = "127.0.0.1", port: int = 0, rules: str = "") -> dict[str, str]:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Page)
        server.page, server.report = PAGE % {"tries": json.dumps(tries)}, None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            parts.program("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--remote-debugging-port=0",
            f"--user-data-dir={tmp_path / 'profile'}", f"--host-resolver-rules={rules or 'MAP nothing.invalid 127.0.0.1'}",
            f"http://{host}:{server.server_address[1]}/",
        ]  # fmt: skip
        with (tmp_path / "chromium.log").open("wb") as log:
            browser = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            parts.wait_until(lambda: server.report is not None, seconds=120, what="the page's report")
        finally:
            browser.terminate()
            browser.wait(30)
            server.shutdown()
            server.server_close()
        return dict(server.report)

    return one


@pytest.mark.timeout(300)
def test_a_page_neither_reads_nor_writes(embedded, visit, tmp_path):
    secret, out = tmp_path / "secret", tmp_path / "out"
    secret.write_text(SECRET)
    sql = f"http://127.0.0.1:{embedded.at.sql_port}/"
    otlp = f"http://127.0.0.1:{embedded.at.http_port}/v1/traces"
    grpc = f"http://127.0.0.1:{embedded.at.grpc_port}/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    write = f"SELECT 'x' INTO OUTFILE '{out}'"
    read = f"SELECT * FROM file('{secret}', LineAsString) FORMAT CSV"
    now = str(time.time_ns())
    span = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [
        {"traceId": "ab" * 16, "spanId": "cd" * 8, "name": "from a page", "startTimeUnixNano": now, "endTimeUnixNano": now}]}]}]})  # fmt: skip
    seen = visit(
        [
            ("img write", "img", sql + "?query=" + quote(write)),
            ("img read out", "img", sql + "?query=" + quote(read)),
            ("script", "script", sql + "?query=" + quote("SELECT 'document.title=1'")),
            ("fetch get", "no-cors", sql + "?query=" + quote(write)),
            ("fetch get cors", "cors", sql + "?query=" + quote(read)),
            ("fetch post", "no-cors", sql, write),
            ("fetch post cors", "cors", sql, write),
            ("form", "form", sql, write),
            ("beacon", "beacon", sql, write),
            ("frame", "navigate", sql + "?query=" + quote(read)),
            ("localhost", "no-cors", sql.replace("127.0.0.1", "localhost"), write),
            ("spans", "no-cors", otlp, span),
            ("spans cors", "cors", otlp, span),
            ("spans form", "form", otlp, span),
            ("spans beacon", "beacon", otlp, span),
            ("spans grpc", "no-cors", grpc, span),
        ]
    )
    assert len(seen) == 16
    assert not any(SECRET in what for what in seen.values()), seen
    assert not any(what.startswith(("basic", "cors")) for what in seen.values()), seen
    assert seen["img write"] == seen["script"] == "error"
    assert not out.exists()
    assert embedded.sql("SELECT count() FROM otel_traces WHERE SpanName = 'from a page'") == [[0]]


@pytest.mark.timeout(300)
def test_a_rebound_name_reads_nothing(embedded, visit):
    """The page's own name points to this machine by the second request: for the browser it is the page's own server."""
    seen = visit(
        [
            (
                "other port",
                "cors",
                f"http://hostile.example:{embedded.at.sql_port}/?query=SELECT%20{SECRET.count('-')}%2B40",
            ),
            ("frame", "navigate", f"http://hostile.example:{embedded.at.sql_port}/?query=SELECT%2040%2B2"),
        ],
        host="hostile.example",
        rules="MAP hostile.example 127.0.0.1",
    )
    assert seen["other port"].startswith("failed: "), seen
    assert seen["frame"] == "hidden"


@pytest.mark.parametrize("port", ["sql_port", "http_port"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE"])
def test_what_gives_a_page_away_is_refused_whatever_the_method(embedded, port, method):
    number = getattr(embedded.at, port)
    url = f"http://127.0.0.1:{number}/"
    for given in (
        {"Origin": "https://example.com"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": f"https://127.0.0.1:{number}"},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Host": "rebound.example.com"},
        {"Host": f"127.0.0.1.example.com:{number}"}, {"Host": "8.8.8.8"},
    ):  # fmt: skip
        answer = requests.request(method, url, data="SELECT 1", headers=given, timeout=10)
        assert answer.status_code == 403, (given, answer.text)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for own in (
        {"Origin": f"http://127.0.0.1:{number}", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {},
    ):
        answer = requests.request(method, url, headers=own, timeout=10)
        assert answer.status_code != 403, (own, answer.text)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("port", ["sql_port", "http_port"])
@pytest.mark.parametrize(
    "host", ["[::1", "a:b:c", "127.0.0.1:99999999", "[]", "", "a b", "a/b", "\xff", "user@127.0.0.1"]
)
def test_a_host_that_cannot_be_read_is_a_bad_request(embedded, port, host):
    number = getattr(embedded.at, port)
    with socket.create_connection(("127.0.0.1", number), timeout=30) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: " + host.encode("latin-1") + b"\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert "Traceback" not in embedded.server.log


def test_two_hosts_or_none_are_a_bad_request(embedded):
    for hosts in (b"Host: localhost\r\nHost: example.com\r\n", b""):
        with socket.create_connection(("127.0.0.1", embedded.at.sql_port), timeout=30) as raw:
            raw.sendall(b"GET /?query=SELECT+1 HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
            answer = b"".join(iter(lambda: raw.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 400 "), answer
