"""`make services`: get every real part this platform offers, and say what is there.

Parts named on the command line are got; without a name: clickhouse, clickhouse-oldest, collector, redis, and the
environments with older OpenTelemetry SDKs.
Asked for by name: RabbitMQ and ZooKeeper, which are large, clients of RabbitMQ, and BullMQ, which needs Node.js
(`python tools/services.py bullmq`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bullmq
import clickhouse
import packages
import rabbitmq_clients
import sdks

import collector

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS: dict[str, Callable[[], object]] = {
    "redis": lambda: packages.install("redis-server", "redis-server"),
    "rabbitmq": lambda: packages.install("rabbitmq-server", "rabbitmq-server"),
    "zookeeper": lambda: packages.install("/usr/share/zookeeper/bin/zkServer.sh", "zookeeper"),
    "chromium": lambda: packages.install("chromium", "chromium"),
    "clickhouse": clickhouse.fetch,
    "clickhouse-oldest": lambda: clickhouse.fetch("oldest"),
    "collector": collector.build,
    "bullmq": bullmq.fetch,
    "rabbitmq-clients": rabbitmq_clients.fetch,
    "sdk-oldest": lambda: sdks.fetch("oldest"),
    "sdk-previous": lambda: sdks.fetch("previous"),
}


def main(names: list[str]) -> int:
    """Get the named parts one after the other; return 1 if one of them is missing at the end."""
    missing = []
    for name in names or ["redis", "clickhouse", "clickhouse-oldest", "collector", "sdk-oldest", "sdk-previous"]:
        if name not in PARTS:
            print(f"no such part: {name}; there are {', '.join(PARTS)}")
            return 2
        try:
            got = PARTS[name]()
        except SystemExit as problem:
            print(f"{name}: {problem}", flush=True)
            got = False
        if not got:
            missing.append(name)
        print(f"{name}: {'ready' if got else 'MISSING'}", flush=True)
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
