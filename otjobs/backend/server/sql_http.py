"""A ClickHouse-compatible HTTP port over chDB, for clickhouse-connect, curl and the otjobs command line.

What it knows of https://clickhouse.com/docs/interfaces/http: `/ping`; statements by GET (read only) and POST, in
`query`, in the body or in both; `database`, `default_format`, `param_*` and settings as parameters or headers;
compressed bodies; errors with their code. What it does not know: users, sessions, external tables, ClickHouse's own
block compression, compressed answers. Whoever reaches the port is a reader (`access`); the user `owner`,
with the token of the data folder as its password, may do everything.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import re
import time
import uuid
import zlib
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from otjobs.backend.server.engine import UnknownSettingNameError
from otjobs.backend.server.printable import printable
from otjobs.backend.store.token import OWNER

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from otjobs.backend.server.engine import Engine

MAX_BODY_BYTES: Final = 256 << 20
READER_BODY_BYTES: Final = 1 << 20
QUERY_THREADS: Final = 16
OWNER_THREADS: Final = 4
STOP_SECONDS: Final = 5.0
_CODE: Final = re.compile(r"Code: (\d+)\.")
_NO_HEADER: Final = re.compile(r"[^\x20-\x7e]")
_FORMAT: Final = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_CONTROL: Final = frozenset(
    {
        "buffer_size",
        "client_protocol_version",
        "compress",
        "database",
        "decompress",
        "default_format",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "session_check",
        "session_id",
        "session_timeout",
        "stacktrace",
        "user",
        "wait_end_of_query",
    }
)
# Settings about the HTTP exchange itself, which this port does its own way.
_EXCHANGE: Final = ("add_http_cors_header", "cancel_http_", "enable_http_", "http_", "send_progress_in_http_headers")
# What a ClickHouse server answers by code; everything else is 500.
_STATUSES: Final = {
    **dict.fromkeys((6, 26, 27, 36, 38, 41, 43, 47, 53, 62, 72, 73, 117, 215, 352, 386, 456, 457), 400),
    **dict.fromkeys((46, 60, 81), 404),
    164: 403,
    452: 403,
    497: 403,
    516: 403,
    159: 408,
}
_TYPES: Final = {
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
}


class _RefusedError(Exception):
    def __init__(self, code: int, name: str, text: str, status: int) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {text} ({name})\n")
        self.status = status


def _frames(body: bytes, decompressor: Callable[[], Any], limit: int) -> bytes:
    """Decompress frames that follow each other: clickhouse-connect sends one per block."""
    out: list[bytes] = []
    room = limit
    while body:
        one = decompressor()
        piece = one.decompress(body, room + 1)
        room -= len(piece)
        if room < 0:
            raise _too_large(limit)
        if not one.eof:
            raise EOFError("it ends too early")
        out.append(piece)
        body = one.unused_data or b""
    return b"".join(out)


def _too_large(limit: int) -> _RefusedError:
    return _RefusedError(396, "TOO_MANY_ROWS_OR_BYTES", f"the body is larger than {limit >> 20} MiB", 413)


def _unpack(body: bytes, encoding: str, limit: int) -> bytes:
    try:
        if encoding in {"", "identity"}:
            return body
        if encoding in {"gzip", "deflate"}:
            return _frames(body, lambda: zlib.decompressobj(47), limit)
        if encoding == "lz4":
            import lz4.frame

            return _frames(body, lz4.frame.LZ4FrameDecompressor, limit)
        if encoding == "zstd":
            try:
                from compression import zstd  # type: ignore[import-not-found,unused-ignore]
            except ImportError:
                from backports import zstd
            return _frames(body, zstd.ZstdDecompressor, limit)
    except ImportError:
        pass
    except _RefusedError:
        raise
    except Exception as error:
        raise _RefusedError(354, "ZLIB_INFLATE_FAILED", f"the body is not valid {encoding}: {error}", 400) from None
    text = f"content encoding {encoding!r} is not supported; send gzip, deflate, lz4, zstd or identity"
    raise _RefusedError(89, "UNKNOWN_COMPRESSION_METHOD", text, 415)


async def _body(request: Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return _unpack(b"".join(chunks), request.headers.get("content-encoding", "").strip().lower(), limit)


class SqlPort:
    """The application of the SQL port.

    Args:
        engine: runs the statements.
        owner_token: the password of the user `owner`.
        access_token: the password of everybody else, '' where only this machine can call.
    """

    def __init__(self, engine: Engine, owner_token: str, access_token: str = "") -> None:
        self._engine = engine
        self._owner_token, self._access_token = owner_token, access_token
        self._pool = ThreadPoolExecutor(QUERY_THREADS, thread_name_prefix="otjobs-sql")
        # Readers that fill all threads do not keep the owner waiting.
        self._owners_pool = ThreadPoolExecutor(OWNER_THREADS, thread_name_prefix="otjobs-sql-owner")
        self._killer = ThreadPoolExecutor(1, thread_name_prefix="otjobs-sql-end")
        self._running: set[Future[Any]] = set()
        self.application = Starlette(
            routes=[
                Route("/ping", self._ping, methods=["GET", "HEAD"]),
                Route("/", self._statement, methods=["GET", "POST"]),
            ]
        )

    def close(self) -> bool:
        """End the statements and the threads; tell whether all of them ended."""
        for pool in (self._pool, self._owners_pool):
            pool.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + STOP_SECONDS
        while (left := [one for one in self._running if not one.done()]) and time.monotonic() < until:
            self._engine.kill_queries()
            wait(left, timeout=0.2)
        self._killer.shutdown(wait=False, cancel_futures=True)
        return not left

    async def _ping(self, _request: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def _statement(self, request: Request) -> Response:
        query_id = _NO_HEADER.sub("?", request.query_params.get("query_id", ""))[:200] or str(uuid.uuid4())
        try:
            return await self._run(request, query_id)
        except _RefusedError as error:
            return _error(str(error), query_id, error.status)
        except UnknownSettingNameError as error:
            return _error(
                f"Code: 115. DB::Exception: Unknown setting {str(error)!r} (UNKNOWN_SETTING)\n", query_id, 400
            )
        except UnicodeDecodeError:
            return _error("Code: 62. DB::Exception: the statement is not UTF-8 (SYNTAX_ERROR)", query_id, 400)
        except ClientDisconnect:
            return _error("Code: 210. DB::Exception: the client went away (NETWORK_ERROR)", query_id)
        except Exception as error:
            return _error(str(error), query_id)

    def _is_owner(self, request: Request) -> bool:
        """Tell the owner from readers.

        Raises:
            _RefusedError: it is neither.
        """
        user, password = _credentials(request)
        if user == OWNER:
            if hmac.compare_digest(password.encode(), self._owner_token.encode()):
                return True
            text = (
                f"{OWNER}: Authentication failed: the password is the token in the file owner.token of the data folder"
            )
            raise _RefusedError(516, "AUTHENTICATION_FAILED", text, 403)
        if self._access_token and not hmac.compare_digest(password.encode(), self._access_token.encode()):
            text = "Authentication failed: the password is the token in the file access.token of the data folder"
            raise _RefusedError(516, "AUTHENTICATION_FAILED", text, 401)
        return False

    async def _run(self, request: Request, query_id: str) -> Response:
        given = request.query_params
        headers = request.headers
        owner = self._is_owner(request)
        if given.get("decompress") == "1" or given.get("compress") == "1":
            text = "ClickHouse's own block compression is not supported on this port; use compression none or HTTP's"
            raise _RefusedError(89, "UNKNOWN_COMPRESSION_METHOD", text, 415)
        if headers.get("content-type", "").startswith("multipart/form-data"):
            text = "external tables and form parameters are not supported on this port"
            raise _RefusedError(48, "NOT_IMPLEMENTED", text, 501)
        body = await _body(request, MAX_BODY_BYTES if owner else READER_BODY_BYTES)
        sql = b"\n".join(part for part in (given.get("query", "").encode(), body) if part)
        if not sql.strip():
            return PlainTextResponse("Ok.\n")
        default_format = given.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated"
        settings = {
            name: value
            for name, value in given.items()
            if name not in _CONTROL and not name.startswith(("param_", *_EXCHANGE))
        }
        mark = str(uuid.uuid4())
        running = (self._owners_pool if owner else self._pool).submit(
            self._engine.run,
            sql,
            output_format=default_format,
            database=given.get("database") or headers.get("x-clickhouse-database") or "",
            params={name[len("param_") :]: value for name, value in given.items() if name.startswith("param_")},
            settings=settings,
            read_only=request.method != "POST",
            reader=not owner,
            mark=mark,
        )
        result, summary = await self._while_wanted(request, running, mark)
        named = _FORMAT.search(sql[-200:])
        used = named[1].decode() if named else printable(default_format)
        return Response(
            result,
            headers={
                "Content-Type": _TYPES.get(used, "text/plain; charset=UTF-8"),
                "X-ClickHouse-Format": used,
                "X-ClickHouse-Query-Id": query_id,
                "X-ClickHouse-Server-Display-Name": "otjobs",
                "X-ClickHouse-Summary": json.dumps(summary),
            },
        )

    async def _while_wanted(self, request: Request, running: Future[Any], mark: str) -> Any:
        """Wait for a statement, and end it when nobody waits for its answer any more."""
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        answer = asyncio.wrap_future(running)
        gone = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            while not answer.done():  # a kill that comes before the statement has begun finds nothing
                running.cancel()
                with contextlib.suppress(RuntimeError):  # stopping, where all statements are ended anyway
                    self._killer.submit(self._engine.kill, mark)
                await asyncio.wait({answer}, timeout=0.5)
            return answer.result()
        except asyncio.CancelledError:
            raise _RefusedError(394, "QUERY_WAS_CANCELLED", "the statement was ended", 500) from None
        finally:
            gone.cancel()


async def _gone(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _credentials(request: Request) -> tuple[str, str]:
    """Return user and password, from wherever ClickHouse's HTTP interface takes them."""
    given, headers = request.query_params, request.headers
    if scheme := headers.get("authorization", ""):
        kind, _, value = scheme.partition(" ")
        if kind.lower() == "bearer":
            return "", value.strip()
        with contextlib.suppress(ValueError):
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
            return user, password
    user = headers.get("x-clickhouse-user") or given.get("user") or ""
    return user, headers.get("x-clickhouse-key") or given.get("password") or ""


def _error(text: str, query_id: str, status: int | None = None) -> Response:
    found = _CODE.search(text)
    code = int(found[1]) if found else 1002  # UNKNOWN_EXCEPTION
    return PlainTextResponse(
        printable(text).rstrip("\n") + "\n",
        status or _STATUSES.get(code, 500),
        {"X-ClickHouse-Exception-Code": str(code), "X-ClickHouse-Query-Id": query_id},
    )
