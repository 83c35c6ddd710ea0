"""Keeps the embedded server's ports to this machine, and to programs rather than web pages on it."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from otjobs.errors import ConfigurationError, PortInUseError, ServerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Channel = Callable[..., Awaitable[Any]]


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_host(host: str, *, allow_remote: bool) -> None:
    """Refuse an address that others can reach.

    Raises:
        ConfigurationError: it is not a loopback address and `allow_remote` is not set.
    """
    if not allow_remote and not is_loopback(host):
        raise ConfigurationError(
            f"{host!r} is not a loopback address: the embedded server has no users and no passwords, and its SQL port "
            "may do everything; use 127.0.0.1, or pass allow_remote=True when the network is yours alone"
        )


def bind(host: str, port: int, option: str) -> socket.socket:
    """Return a listening socket.

    Raises:
        PortInUseError: somebody listens there.
        ServerError: the address cannot be had.
    """
    from otjobs.server.otlp_grpc import port_taken

    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ServerError(f"cannot listen on {host}: {error.strerror or error}") from error
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(address)
        made.listen(512)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(port_taken(host, port, option)) from None
        raise ServerError(f"cannot listen on {host} port {port} ({option}): {error.strerror or error}") from error
    made.setblocking(False)  # noqa: FBT003  (positional only)
    return made


class LocalProgramsOnly:
    """ASGI middleware that refuses requests a web page could have caused.

    A page in a browser on this machine can send requests to loopback ports, and with a rebound name read the answers.
    It gives itself away by an `Origin` header of its own site, or by a `Host` header that is not this machine.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Channel, send: Channel) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            host = urlsplit("//" + headers.get(b"host", b"localhost").decode("latin-1")).hostname or ""
            origin = headers.get(b"origin")
            site = urlsplit(origin.decode("latin-1")).hostname or "" if origin is not None else host
            if not (is_loopback(host) and is_loopback(site)):
                text = b"Code: 516. DB::Exception: only programs on this machine may use this port (REQUIRED)\n"
                await send(
                    {"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]}
                )
                await send({"type": "http.response.body", "body": text})
                return
        await self._application(scope, receive, send)
