"""Keeps the embedded server's ports to this machine, and to programs rather than web pages on it."""

from __future__ import annotations

import errno
import hmac
import ipaddress
import re
import socket
from typing import TYPE_CHECKING, Any, Final

from otjobs.errors import ConfigurationError, PortInUseError, ServerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

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
            f"{host!r} is not a loopback address: other machines could send spans and read; use 127.0.0.1, or pass "
            "allow_remote=True, which asks every caller for a token, and keep to a network that nobody listens on"
        )


def port_taken(host: str, port: int, option: str) -> str:
    """Return what to say when a port cannot be had."""
    return (
        f"port {port} on {host} is in use by another process (a collector, ClickHouse or another `otjobs up`?); "
        f"stop that one or choose another port with {option}"
    )


def bind(host: str, port: int, option: str) -> socket.socket:
    """Return a listening socket.

    Raises:
        PortInUseError: somebody listens there.
        ServerError: the address cannot be had.
    """
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


class Door:
    """ASGI middleware that refuses requests a web page could have caused, and strangers.

    A page in a browser on this machine can send requests to loopback ports, and with a rebound name read the answers.
    It gives itself away by `Sec-Fetch-Site`, by an `Origin` that is not this port, or by a `Host` that is not this
    machine. From other machines a token is asked for instead of the `Host`, which nobody can know.

    Args:
        application: what answers.
        token: what callers have to show, '' where only this machine can call.
        open_paths: paths that need no token.
        checks_token: the application looks at the token itself.
    """

    def __init__(
        self, application: Any, *, token: str = "", open_paths: tuple[str, ...] = (), checks_token: bool = False
    ) -> None:
        self._application = application
        self._token = token
        self._open_paths = open_paths
        self._checks_token = checks_token

    async def __call__(self, scope: Scope, receive: Channel, send: Channel) -> None:
        """Pass the request on, or answer 400, 401 or 403."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def guarded_send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_NO_GUESSING]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._application(scope, receive, guarded_send)
            return
        status, code, text = refusal
        body = f"Code: {code}. DB::Exception: {text} ({_CODES[code]})\n".encode()
        headers = [
            (b"content-type", b"text/plain; charset=UTF-8"),
            (b"x-clickhouse-exception-code", str(code).encode()),
        ]
        await guarded_send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Scope) -> tuple[int, int, str] | None:
        def values(name: bytes) -> list[str]:
            return [value.decode("latin-1") for key, value in scope["headers"] if key == name]

        hosts = values(b"host")
        if len(hosts) != 1 and not (not hosts and scope.get("http_version") == "1.0"):
            return 400, 36, "a request has one Host header"
        host = host_of(hosts[0]) if hosts else "localhost"
        if host is None:
            return 400, 36, "the Host header cannot be read"
        pages = "web pages may not use this port, only programs"
        if any(site not in _OWN_SITES for site in values(b"sec-fetch-site")):
            return 403, 516, pages
        if any(origin.lower() != f"http://{hosts[0]}".lower() if hosts else True for origin in values(b"origin")):
            return 403, 516, pages
        if not self._token:
            return None if is_loopback(host) else (403, 516, "only programs on this machine may use this port")
        if self._checks_token or scope["path"] in self._open_paths or has_token(values(b"authorization"), self._token):
            return None
        return 401, 516, "this port asks for the access token: send the header Authorization: Bearer TOKEN"


_CODES: Final = {36: "BAD_ARGUMENTS", 516: "AUTHENTICATION_FAILED"}
# A browser neither guesses what an answer is nor shows it inside another site.
_NO_GUESSING: Final = ((b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin"))
_OWN_SITES: Final = ("same-origin", "none")
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")


def host_of(header: str) -> str | None:
    """Return the host of a Host header, or None where it is none."""
    found = _HOST.fullmatch(header)
    return found["host"] if found else None


def has_token(headers: Iterable[str], token: str) -> bool:
    """Tell whether one of the Authorization headers bears the token."""
    return any(hmac.compare_digest(header.encode(), f"Bearer {token}".encode()) for header in headers)
