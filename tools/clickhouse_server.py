"""Run a real ClickHouse server in the foreground: HTTP and native TCP on loopback, data in a folder.

    python tools/clickhouse_server.py --http-port 8123 --tcp-port 9000 --data DIR [--config FILE] [--engine oldest]

It stops at SIGTERM or Ctrl-C; after SIGKILL the data is there at the next start.
`--config` is a server configuration: users.xml, profiles, grants, remote_servers, macros.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
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
# A whole server has its accounts from here and from what is said in SQL.
SERVER = """<clickhouse>
    <logger><console>1</console><level>warning</level></logger>
    <shutdown_wait_unfinished>0</shutdown_wait_unfinished>
    <mark_cache_size>268435456</mark_cache_size>
    <path>{data}/</path>
    <tmp_path>{data}/tmp/</tmp_path>
    <user_directories>
        <users_xml><path>{folder}/users.xml</path></users_xml>
        <local_directory><path>{folder}/access/</path></local_directory>
    </user_directories>
</clickhouse>"""
USERS = """<clickhouse>
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users><default>
        <password/><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
        <access_management>1</access_management>
    </default></users>
</clickhouse>"""


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def local(given: argparse.Namespace) -> list[str]:
    """Return the command line with which `clickhouse local` serves."""
    command = ["clickhouse"]
    if given.config:
        command += ["-C", str(given.config)]
    command += ["--http_port", str(given.http_port), "--tcp_port", str(given.tcp_port), "--listen_host", given.host]
    return [*command, "--path", str(given.data), "--query", LISTEN.format(seconds=given.seconds)]


def server(given: argparse.Namespace) -> list[str]:
    """Write the configuration of a whole server, and return its command line."""
    data = given.data.resolve()
    folder = data / "server"
    (folder / "config.d").mkdir(parents=True, exist_ok=True)
    (folder / "config.xml").write_text(SERVER.format(data=data, folder=folder))
    (folder / "users.xml").write_text(USERS)
    if given.config:
        shutil.copy(given.config, folder / "config.d" / "given.xml")
    # It would run what serves in a child of its own.
    os.environ["CLICKHOUSE_WATCHDOG_ENABLE"] = "0"
    command = ["clickhouse-server", f"--config-file={folder / 'config.xml'}", "--"]
    return [*command, f"--http_port={given.http_port}", f"--tcp_port={given.tcp_port}", f"--listen_host={given.host}"]


def main() -> None:
    """Parse the command line and serve until stopped."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--http-port", type=int, default=8123)
    options.add_argument("--tcp-port", type=int, default=9000)
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--config", type=Path)
    options.add_argument("--engine", choices=("newest", "oldest"), default="newest")
    options.add_argument("--seconds", type=int, default=36000, help="stop by itself after this long")
    options.add_argument("--with-parent", action="store_true", help="stop when the parent process ends")
    given = options.parse_args()

    given.data.mkdir(parents=True, exist_ok=True)
    if given.with_parent:
        # A test run that was killed must not leave servers behind.
        threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    # The default action: the engine is in the foreground of a C call, where Python's handlers would never run.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    if given.engine == "newest":
        engine, command, entry = ctypes.CDLL(str(fetch())), local(given), "query_stable_v2"
    else:
        # Symbols of its own before those of Python's libraries.
        mode = os.RTLD_NOW | os.RTLD_DEEPBIND
        engine, command, entry = (
            ctypes.CDLL(str(fetch("oldest")), mode),
            server(given),
            "_Z25mainEntryClickHouseServeriPPc",
        )
        signal.alarm(given.seconds)
    call = getattr(engine, entry)
    call.restype = ctypes.c_void_p
    call(len(command), (ctypes.c_char_p * (len(command) + 1))(*[part.encode() for part in command], None))


if __name__ == "__main__":
    main()
