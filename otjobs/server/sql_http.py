"""A ClickHouse-compatible HTTP port over chDB, for clickhouse-connect, curl and the otjobs command line.

What it knows of https://clickhouse.com/docs/interfaces/http: `/ping`; statements by GET (read only) and POST, in
`query`, in the body or in both; `database`, `default_format`, `param_*` and settings as parameters or headers;
compressed bodies; errors with their code. What it does not know: users, sessions, external tables, ClickHouse's own
block compression, compressed answers. Raw SQL goes through: whoever reaches the port may do what the process may.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from otjobs.server.engine import UnknownSettingNameError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from otjobs.server.engine import Engine

MAX_BODY_BYTES: Final = 256 << 20
QUERY_THREADS: Final = 16
_CODE: Final = re.compile(r"Code: (\d+)\.")
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


def _frames(body: bytes, decompressor: Callable[[], Any]) -> bytes:
    """Decompress frames that follow each other: clickhouse-connect sends one per block."""
    out: list[bytes] = []
    while body:
        one = decompressor()
        out.append(one.decompress(body))
        if not one.eof:
            raise EOFError("it ends too early")
        body = one.unused_data or b""
    return b"".join(out)


def _unpack(body: bytes, encoding: str) -> bytes:
    try:
        if encoding in {"", "identity"}:
            return body
        if encoding in {"gzip", "deflate"}:
            return _frames(body, lambda: zlib.decompressobj(47))
        if encoding == "lz4":
            import lz4.frame

            return _frames(body, lz4.frame.LZ4FrameDecompressor)
        if encoding == "zstd":
            try:
                from compression import zstd  # type: ignore[import-not-found,unused-ignore]
            except ImportError:
                from backports import zstd
            return bytes(zstd.decompress(body))
    except ImportError:
        pass
    except Exception as error:
        raise _RefusedError(354, "ZLIB_INFLATE_FAILED", f"the body is not valid {encoding}: {error}", 400) from None
    text = f"content encoding {encoding!r} is not supported; send gzip, deflate, lz4, zstd or identity"
    raise _RefusedError(89, "UNKNOWN_COMPRESSION_METHOD", text, 415)


async def _body(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            text = f"the body is larger than {MAX_BODY_BYTES >> 20} MiB"
            raise _RefusedError(396, "TOO_MANY_ROWS_OR_BYTES", text, 413)
        chunks.append(chunk)
    return _unpack(b"".join(chunks), request.headers.get("content-encoding", "").strip().lower())


class SqlPort:
    """The application of the SQL port.

    Args:
        engine: runs the statements.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(QUERY_THREADS, thread_name_prefix="otjobs-sql")
        self.application = Starlette(
            routes=[
                Route("/ping", self._ping, methods=["GET", "HEAD"]),
                Route("/", self._statement, methods=["GET", "POST"]),
            ]
        )

    def close(self) -> None:
        """End the query threads; running statements are ended too."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._engine.kill_queries()
        self._pool.shutdown(wait=True)

    async def _ping(self, _request: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def _statement(self, request: Request) -> Response:
        query_id = request.query_params.get("query_id") or str(uuid.uuid4())
        try:
            return await self._run(request, query_id)
        except _RefusedError as error:
            return _error(str(error), query_id, error.status)
        except UnknownSettingNameError as error:
            return _error(
                f"Code: 115. DB::Exception: Unknown setting {str(error)!r} (UNKNOWN_SETTING)\n", query_id, 400
            )
        except Exception as error:
            return _error(str(error), query_id)

    async def _run(self, request: Request, query_id: str) -> Response:
        given = request.query_params
        headers = request.headers
        if given.get("decompress") == "1" or given.get("compress") == "1":
            text = "ClickHouse's own block compression is not supported on this port; use compression none or HTTP's"
            raise _RefusedError(89, "UNKNOWN_COMPRESSION_METHOD", text, 415)
        if headers.get("content-type", "").startswith("multipart/form-data"):
            text = "external tables and form parameters are not supported on this port"
            raise _RefusedError(48, "NOT_IMPLEMENTED", text, 501)
        body = await _body(request)
        sql = b"\n".join(part for part in (given.get("query", "").encode(), body) if part)
        if not sql.strip():
            return PlainTextResponse("Ok.\n")
        default_format = given.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated"
        settings = {
            name: value
            for name, value in given.items()
            if name not in _CONTROL and not name.startswith(("param_", *_EXCHANGE))
        }
        result, summary = await asyncio.get_running_loop().run_in_executor(
            self._pool,
            lambda: self._engine.run(
                sql,
                output_format=default_format,
                database=given.get("database") or headers.get("x-clickhouse-database") or "",
                params={name[len("param_") :]: value for name, value in given.items() if name.startswith("param_")},
                settings=settings,
                read_only=request.method != "POST",
            ),
        )
        named = _FORMAT.search(sql[-200:])
        used = named[1].decode() if named else default_format
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


def _error(text: str, query_id: str, status: int | None = None) -> Response:
    found = _CODE.search(text)
    code = int(found[1]) if found else 1002  # UNKNOWN_EXCEPTION
    return PlainTextResponse(
        text if text.endswith("\n") else text + "\n",
        status or _STATUSES.get(code, 500),
        {"X-ClickHouse-Exception-Code": str(code), "X-ClickHouse-Query-Id": query_id},
    )
