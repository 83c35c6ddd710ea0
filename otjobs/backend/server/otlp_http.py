"""OTLP over HTTP: /v1/traces in protobuf and JSON; /v1/metrics and /v1/logs are taken and dropped."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format
from google.rpc import code_pb2, status_pb2
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from otjobs.backend.server.decode import MAX_BODY_BYTES, BadRequestError, check_encoding, decompress
from otjobs.backend.server.receiver import BUSY_MESSAGE, RETRY_SECONDS
from otjobs.backend.server.writer import BusyError

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from starlette.requests import Request

    from otjobs.backend.server.receiver import Receiver
    from otjobs.backend.server.writer import Admission

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"


class _Held:
    """What one request has reserved so far."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.size = 0

    def grow(self, size: int) -> None:
        self._admission.take(size, self.size)
        self.size += size

    def release(self) -> None:
        self._admission.give_back(self.size)
        self.size = 0


def _answer(message: Message, kind: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    if kind == JSON:
        return Response(json_format.MessageToJson(message, indent=None), status, headers, media_type=JSON)
    return Response(message.SerializeToString(), status, headers, media_type=PROTOBUF)


def _failure(text: str, kind: str, status: int) -> Response:
    code = code_pb2.UNAVAILABLE if status == 503 else code_pb2.INVALID_ARGUMENT
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
    return _answer(status_pb2.Status(code=code, message=text), kind, status, headers)


async def _body(request: Request, held: _Held) -> bytes:
    encoding = check_encoding(request.headers.get("content-encoding", ""))
    chunks: list[bytes] = []
    async for chunk in request.stream():
        held.grow(len(chunk))
        if held.size > MAX_BODY_BYTES:
            raise BadRequestError(f"the body is larger than {MAX_BODY_BYTES >> 20} MiB", 413)
        chunks.append(chunk)
    return decompress(b"".join(chunks), encoding, grow=held.grow)


def application(receiver: Receiver) -> Starlette:
    """Return the ASGI application of the OTLP/HTTP port."""

    async def traces(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in {PROTOBUF, JSON}:
            return _failure(f"content type {kind!r} is not supported; send {PROTOBUF} or {JSON}", PROTOBUF, 415)
        held = _Held(receiver.admission)
        try:
            body = await _body(request, held)
            return _answer(await receiver.export(body, is_json=kind == JSON), kind)
        except BadRequestError as error:
            return _failure(str(error), kind, error.status)
        except BusyError as error:
            return _failure(str(error) or BUSY_MESSAGE, kind, 503)
        except ClientDisconnect:
            return _failure("the client went away", kind, 400)
        finally:
            held.release()

    async def dropped(request: Request) -> Response:
        with contextlib.suppress(ClientDisconnect):
            async for _ in request.stream():
                pass
        is_json = request.headers.get("content-type", "").lower().startswith(JSON)
        return Response(b"{}" if is_json else b"", media_type=JSON if is_json else PROTOBUF)

    routes: list[Any] = [Route("/v1/traces", traces, methods=["POST"])]
    routes += [
        Route(path, dropped, methods=["POST"]) for path in ("/v1/metrics", "/v1/logs", "/v1development/profiles")
    ]
    return Starlette(routes=routes)
