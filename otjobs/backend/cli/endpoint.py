"""Does the OTLP endpoint take spans? An empty request tells, and leaves nothing behind."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from typing import Final
from urllib.parse import unquote, urlsplit

from otjobs.backend.store.address import public

Found = tuple[str, str, str]
"""The verdict, what was found, and what to do."""

_SECONDS: Final = 5
_NONE: Final = "export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
_START: Final = "otjobs up, or start the collector"
_HTTP: Final = frozenset({"http/protobuf", "http/json"})
_WAYS_OUT: Final = {
    401: "give the token: export OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20TOKEN",
    403: "give a token that may send: export OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20TOKEN",
    404: "it is no OTLP endpoint: give the address of the collector without /v1/traces, its HTTP port is mostly 4318",
    503: "it takes nothing now: look at its log, and at the disk behind it",
}


def _setting(name: str) -> str:
    """Return what holds for traces, as the SDK reads it."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""


def check() -> Found:
    """Send nothing to the endpoint that a service started from this shell would use."""
    endpoint, protocol = _setting("ENDPOINT"), _setting("PROTOCOL")
    if not endpoint:
        return "not set", "OTEL_EXPORTER_OTLP_ENDPOINT is not set in this shell", _NONE
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    shown = public(endpoint)
    try:
        host, port = parts.hostname or "127.0.0.1", parts.port
        if protocol not in _HTTP:
            socket.create_connection((host, port or 4317), timeout=3).close()
            found = f"{shown} is there; the protocol is {protocol or 'grpc by default'}, whose answer is not tried"
            return "check", found, "gRPC hangs forked workers: export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        own = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        path = parts.path or "/" if own else f"{parts.path.rstrip('/')}/v1/traces"
        status, text = _post(parts.scheme == "https", host, port, path, json=protocol == "http/json")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return "broken", f"nobody takes spans at {shown}: {error or type(error).__name__}", _START
    if status != http.client.OK:
        return "broken", f"{shown} answers {status} to spans: {text}", _WAYS_OUT.get(status, _START)
    return "ok", f"{shown} takes spans, {protocol}", ""


def _post(secure: bool, host: str, port: int | None, path: str, *, json: bool) -> tuple[int, str]:
    headers = {"Content-Type": "application/json" if json else "application/x-protobuf"}
    for pair in _setting("HEADERS").split(","):
        name, equals, value = pair.partition("=")
        if equals:
            headers[unquote(name.strip())] = unquote(value.strip())
    connection: http.client.HTTPConnection
    if secure:
        context = ssl.create_default_context(cafile=_setting("CERTIFICATE") or None)
        connection = http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
    try:
        connection.request("POST", path, body=b"{}" if json else b"", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(300).decode(errors="replace").strip() or answer.reason
    finally:
        connection.close()
