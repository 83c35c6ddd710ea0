"""OTLP over gRPC: the trace service; the metrics and logs services take everything and keep nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from otjobs.backend.server.decode import MAX_BODY_BYTES, BadRequestError
from otjobs.backend.server.loopback import has_token, port_taken
from otjobs.backend.server.receiver import BUSY_MESSAGE, RETRY_SECONDS
from otjobs.backend.server.writer import BusyError
from otjobs.errors import PortInUseError

if TYPE_CHECKING:
    from otjobs.backend.server.receiver import Receiver

_PACKAGE: Final = "opentelemetry.proto.collector"
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_BODY_BYTES),
    # Without this a second server would share the port and take half of the requests.
    ("grpc.so_reuseport", 0),
)


def _busy_details(text: str) -> tuple[tuple[str, bytes], ...]:
    status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message=text)
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=RETRY_SECONDS)))
    return (("grpc-status-details-bin", status.SerializeToString()),)


def _service(name: str, export: Any) -> Any:
    # No deserializer: the bytes are admitted first and parsed in the decoder thread.
    handler = grpc.unary_unary_rpc_method_handler(export)
    return grpc.method_handlers_generic_handler(f"{_PACKAGE}.{name}", {"Export": handler})


def _door(token: str) -> grpc.aio.ServerInterceptor:
    """Return what turns callers without the token away.

    There is nothing to do about web pages: without TLS a browser speaks HTTP/1 only, and gRPC speaks HTTP/2 only.
    """

    async def refuse(_body: bytes, context: Any) -> bytes:
        text = "this port asks for the access token: send the metadata authorization: Bearer TOKEN"
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, text)
        return b""  # abort raises

    class Door(grpc.aio.ServerInterceptor):  # type: ignore[misc,unused-ignore]
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            given = [str(value) for key, value in details.invocation_metadata if key == "authorization"]
            return (
                await continuation(details) if has_token(given, token) else grpc.unary_unary_rpc_method_handler(refuse)
            )

    return Door()


def server(receiver: Receiver, host: str, port: int, token: str = "") -> tuple[Any, int]:
    """Return a gRPC server that is bound and not yet started, and its port.

    Must be called with the event loop running.

    Args:
        receiver: takes the requests.
        host: the address.
        port: the port, 0 for a free one.
        token: what callers have to show, '' where only this machine can call.

    Raises:
        PortInUseError: somebody listens there.
    """

    async def traces(body: bytes, context: Any) -> bytes:
        try:
            receiver.admission.take(len(body))
        except BusyError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, BUSY_MESSAGE, _busy_details(BUSY_MESSAGE))
        try:
            answer: bytes = (await receiver.export(body)).SerializeToString()
        except BadRequestError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except BusyError as error:
            text = str(error) or BUSY_MESSAGE
            await context.abort(grpc.StatusCode.UNAVAILABLE, text, _busy_details(text))
        finally:
            receiver.admission.give_back(len(body))
        return answer  # abort raises

    async def dropped(_body: bytes, _context: Any) -> bytes:
        return b""

    made = grpc.aio.server(interceptors=[_door(token)] if token else None, options=_OPTIONS)
    made.add_generic_rpc_handlers(
        (
            _service("trace.v1.TraceService", traces),
            _service("metrics.v1.MetricsService", dropped),
            _service("logs.v1.LogsService", dropped),
        )
    )
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = made.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        raise PortInUseError(port_taken(host, port, "--grpc-port"))
    return made, bound
