"""Run a real ClickHouse server in the foreground: HTTP and native TCP on loopback, data in a folder.

    python tools/clickhouse_server.py --http-port 8123 --tcp-port 9000 --data DIR [--config config.xml]

It stops at SIGTERM or Ctrl-C; after SIGKILL the data is there at the next start.
`--config` is a server configuration: users.xml, profiles, grants, remote_servers, macros.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from clickhouse import fetch

# `clickhouse local` listens while a query runs; this one sleeps for the given seconds.
LISTEN = (
    "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; SELECT sleepEachRow(1) FROM numbers({seconds}) "
    "SETTINGS max_block_size=1, function_sleep_max_microseconds_per_block=0 FORMAT Null"
)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def main() -> None:
    """Parse the command line and serve until stopped."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--http-port", type=int, default=8123)
    options.add_argument("--tcp-port", type=int, default=9000)
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--config", type=Path)
    options.add_argument("--seconds", type=int, default=36000, help="stop by itself after this long")
    options.add_argument("--with-parent", action="store_true", help="stop when the parent process ends")
    given = options.parse_args()

    given.data.mkdir(parents=True, exist_ok=True)
    command = ["clickhouse"]
    if given.config:
        command += ["-C", str(given.config)]
    command += ["--http_port", str(given.http_port), "--tcp_port", str(given.tcp_port), "--listen_host", given.host]
    command += ["--path", str(given.data), "--query", LISTEN.format(seconds=given.seconds)]

    if given.with_parent:
        # A test run that was killed must not leave servers behind.
        threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    engine = ctypes.CDLL(str(fetch()))
    engine.query_stable_v2.restype = ctypes.c_void_p
    # The default action: the engine is in the foreground of a C call, where Python's handlers would never run.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    engine.query_stable_v2(len(command), (ctypes.c_char_p * len(command))(*[part.encode() for part in command]))


if __name__ == "__main__":
    main()
