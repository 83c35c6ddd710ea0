"""Run a ClickHouse server from the engine library: `clickhouse_server.py LIBRARY FOLDER HTTP_PORT TCP_PORT [CONFIG]`.

The library's one C entry point is the command line of `clickhouse local`, which can start the HTTP and native
listeners; the last statement only keeps it alive, ten hours at most. SIGTERM stops it.
"""

from __future__ import annotations

import ctypes
import sys

KEEP_ALIVE = (
    "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; SELECT sleepEachRow(1) FROM numbers(36000) "
    "SETTINGS max_block_size=1, function_sleep_max_microseconds_per_block=0 FORMAT Null"
)


def main() -> None:
    """Run until stopped."""
    library, folder, http_port, tcp_port, *config = sys.argv[1:]
    arguments = ["clickhouse", *(["-C", config[0]] if config else []), "--http_port", http_port, "--tcp_port", tcp_port]
    arguments += ["--listen_host", "127.0.0.1", "--path", folder, "--query", KEEP_ALIVE]
    engine = ctypes.CDLL(library)
    engine.query_stable_v2.restype = ctypes.c_void_p
    engine.query_stable_v2(len(arguments), (ctypes.c_char_p * len(arguments))(*[a.encode() for a in arguments]))


if __name__ == "__main__":
    main()
