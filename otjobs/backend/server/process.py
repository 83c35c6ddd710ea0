"""One process of the embedded mode: its ports, its database folder, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from otjobs.backend.server.engine import Engine
from otjobs.backend.server.loopback import Door, bind, check_host
from otjobs.backend.server.tokens import Tokens
from otjobs.backend.store.token import OWNER
from otjobs.errors import MissingExtraError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

_log = logging.getLogger("otjobs.server")

GRACE_SECONDS: Final = 20
SQL_GRACE_SECONDS: Final = 1
QUEUE_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running embedded server can be reached."""

    data: str
    host: str
    grpc_port: int
    http_port: int
    sql_port: int
    owner_token: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)

    @property
    def otlp_grpc(self) -> str:
        """Endpoint for `OTEL_EXPORTER_OTLP_ENDPOINT` with protocol grpc."""
        return f"http://{self._host}:{self.grpc_port}"

    @property
    def otlp_http(self) -> str:
        """Endpoint for `OTEL_EXPORTER_OTLP_ENDPOINT` with protocol http/protobuf."""
        return f"http://{self._host}:{self.http_port}"

    @property
    def url(self) -> str:
        """Value for `--url` and `OTJOBS_URL`."""
        return f"http://{self._host}:{self.sql_port}/otjobs"

    @property
    def owner_url(self) -> str:
        """The same as the user `owner`, who may write: for programs that do not run as the user of the server."""
        return f"http://{OWNER}:{self.owner_token}@{self._host}:{self.sql_port}/otjobs"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def run(
    data: Path,
    *,
    host: str = "127.0.0.1",
    grpc_port: int = 4317,
    http_port: int = 4318,
    sql_port: int = 8123,
    allow_remote: bool = False,
    on_ready: Callable[[Endpoints], None] | None = None,
    queue_bytes: int = QUEUE_BYTES,
    stop: threading.Event | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what was accepted and return.

    Spans are acknowledged once they are stored, so a stop, even by SIGKILL, loses nothing that was acknowledged.

    Args:
        data: the chDB folder, made when it is not there.
        host: address of all three ports.
        grpc_port: OTLP over gRPC; 0 picks a free one.
        http_port: OTLP over HTTP; 0 picks a free one.
        sql_port: ClickHouse-compatible HTTP; 0 picks a free one.
        allow_remote: take a host that other machines can reach; every caller then needs the token in `access.token`
            of the data folder.
        on_ready: called once with the endpoints when all ports answer.
        queue_bytes: most bytes of requests received and not yet stored; beyond it senders are told to come back.
        stop: ends the server when set, for callers outside the main thread.

    Raises:
        ConfigurationError: the host is not a loopback address and `allow_remote` is not set.
        FolderInUseError: another process holds the folder.
        MissingExtraError: the extra `embedded` is not installed.
        NewerSchemaError: the folder was written by a newer otjobs.
        PortInUseError: another process listens on a port.
    """
    check_host(host, allow_remote=allow_remote)
    _require_libraries()
    with contextlib.ExitStack() as closing:
        http_socket = closing.enter_context(bind(host, http_port, "--http-port"))
        sql_socket = closing.enter_context(bind(host, sql_port, "--sql-port"))
        engine = Engine(data)
        closing.callback(engine.close)
        tokens = Tokens(engine.folder, sql_socket.getsockname()[1], remote=allow_remote)
        closing.callback(tokens.close)
        serving = _Serving(engine, host, grpc_port, http_socket, sql_socket, queue_bytes, tokens)
        asyncio.run(serving.main(on_ready, stop))
        if not serving.queries_ended:
            _leave(tokens)


def _leave(tokens: Tokens) -> None:
    """End the process although a query runs on that heeds no KILL; all that was acknowledged is on disk."""
    tokens.close()
    _log.warning("a query did not end when told to; the process ends without it")
    logging.shutdown()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(0)


def _require_libraries() -> None:
    try:
        import grpc as _grpc  # noqa: F401
        import starlette as _starlette  # noqa: F401
        import uvicorn as _uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "uvicorn", "embedded") from None


class _Serving:
    def __init__(
        self,
        engine: Engine,
        host: str,
        grpc_port: int,
        http_socket: socket.socket,
        sql_socket: socket.socket,
        queue_bytes: int,
        tokens: Tokens,
    ) -> None:
        from otjobs.backend.server.receiver import Receiver
        from otjobs.backend.server.sql_http import SqlPort
        from otjobs.backend.server.writer import Admission, Writer

        self._engine = engine
        self._host, self._grpc_port = host, grpc_port
        self._http_socket, self._sql_socket = http_socket, sql_socket
        self._tokens = tokens
        self.queries_ended = True
        self._writer = Writer(engine.insert)
        self._receiver = Receiver(self._writer, Admission(queue_bytes))
        self._sql = SqlPort(engine, tokens.owner, tokens.access)

    async def main(self, on_ready: Callable[[Endpoints], None] | None, stop: threading.Event | None) -> None:
        from otjobs.backend.server import otlp_grpc, otlp_http

        grpc_server, grpc_port = otlp_grpc.server(self._receiver, self._host, self._grpc_port, self._tokens.access)
        http_door = Door(otlp_http.application(self._receiver), token=self._tokens.access)
        sql_door = Door(self._sql.application, token=self._tokens.access, checks_token=True)
        http_server = self._uvicorn(http_door, GRACE_SECONDS)
        sql_server = self._uvicorn(sql_door, SQL_GRACE_SECONDS)
        self._writer.start()
        await grpc_server.start()
        tasks = [
            asyncio.create_task(http_server.serve(sockets=[self._http_socket])),
            asyncio.create_task(sql_server.serve(sockets=[self._sql_socket])),
        ]
        try:
            with _signals(stop) as stopping:
                while not (http_server.started and sql_server.started) and not any(task.done() for task in tasks):
                    await asyncio.sleep(0.01)
                if on_ready is not None:
                    http_port, sql_port = (s.getsockname()[1] for s in (self._http_socket, self._sql_socket))
                    data, tokens = str(self._engine.folder), self._tokens
                    on_ready(Endpoints(data, self._host, grpc_port, http_port, sql_port, tokens.owner, tokens.access))
                waiting = asyncio.create_task(stopping.wait())
                await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                # New requests are turned away first, those inside get their answer, and the writer empties last.
                http_server.should_exit = sql_server.should_exit = True
                await asyncio.gather(grpc_server.stop(GRACE_SECONDS), *tasks)
        finally:
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.queries_ended = self._sql.close()
        self._receiver.close()
        self._writer.stop()

    def _uvicorn(self, application: Any, grace_seconds: int) -> Any:
        import uvicorn

        class QuietServer(uvicorn.Server):
            """Leaves the signals to this module: there are two of these in one process."""

            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield

        return QuietServer(
            uvicorn.Config(
                application,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=grace_seconds,
            )
        )


@contextlib.contextmanager
def _signals(stop: threading.Event | None) -> Iterator[asyncio.Event]:
    """Yield an event that a signal, or `stop`, sets."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    own = threading.current_thread() is threading.main_thread()
    if own:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)

    async def watch(event: threading.Event) -> None:
        while not event.is_set():
            await asyncio.sleep(0.05)
        stopping.set()

    watching = loop.create_task(watch(stop)) if stop is not None else None
    try:
        yield stopping
    finally:
        if watching is not None:
            watching.cancel()
        if own:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
