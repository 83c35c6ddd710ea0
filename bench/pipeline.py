"""Spans per second through the collector into ClickHouse: our schema beside the exporter's own.

    python bench/pipeline.py [--quick] [--rounds N] [--spans N]

One real ClickHouse server, two collectors with the same gateway configuration; one writes to a database made by
`otjobs migrate`, the other to one made by the exporter (`create_schema: true`). They take turns, and swap who goes
first from round to round. A round sends requests of 1,000 job spans over OTLP/HTTP from four senders and ends when the
last span is in the table; CPU is that of collector and server, background merges during the round included.
The goal: at least 0.85 of the rate with the exporter's schema.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "collector"))

import clickhouses
import parts
import wire
from figures import cpu_seconds_of, emit, end_cleanly, median, skipped, table
from job_spans import Template, template

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Sequence

GOAL = 0.85
SENDERS = 4
DATABASES = {"exporter": "bench_exporter", "ours": "bench_ours"}


def send(collector: Any, templates: Sequence[Template], requests: int) -> None:
    """POST `requests` fresh requests from several threads; a refusal is retried."""
    left = [requests]
    lock = threading.Lock()
    failures: list[BaseException] = []

    def sender(mine: Template) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", collector.http, timeout=120)
        headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {wire.TOKEN}"}
        while True:
            with lock:
                if left[0] <= 0:
                    return
                left[0] -= 1
            body = mine.fresh()
            while True:
                connection.request("POST", "/v1/traces", body, headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    break
                if answer.status not in {429, 503}:
                    raise RuntimeError(f"status {answer.status}")
                time.sleep(0.1)

    def guarded(mine: Template) -> None:
        try:
            sender(mine)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(one,), daemon=True) for one in templates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    if failures:
        raise failures[0]


class Side:
    """One schema: its database, its collector, its figures."""

    def __init__(self, name: str, clickhouse: clickhouses.ClickHouse, binary: Path, folder: Path) -> None:
        self.name, self.clickhouse = name, clickhouse
        self.database = DATABASES[name]
        more: tuple[Path, ...] = ()
        if name == "ours":
            store = connect(clickhouse.database_url(self.database))
            migrate(store)
            store.close()
        else:
            override = folder / "create_schema.yaml"
            folder.mkdir(parents=True, exist_ok=True)
            override.write_text("exporters: {clickhouse: {create_schema: true}}\n")
            more = (override,)
        self.collector = wire.gateway(binary, folder, clickhouse, self.database, *more)
        self.collector.start()
        self.rates: list[float] = []
        self.cpu: list[tuple[float, float]] = []

    def count(self) -> int:
        return int(self.clickhouse.query(f"SELECT count() FROM {self.database}.otel_traces"))

    def cpu_now(self) -> tuple[float, float]:
        """CPU seconds of the collector and of the server so far."""
        first, second = self.collector.process, self.clickhouse.process
        assert first is not None
        assert second is not None
        return cpu_seconds_of(first.pid), cpu_seconds_of(second.pid)

    def round(self, templates: Sequence[Template], requests: int) -> tuple[float, tuple[float, float]]:
        spans = requests * templates[0].spans
        before = self.count()
        cpu, began = self.cpu_now(), time.monotonic()
        send(self.collector, templates, requests)
        while (stored := self.count() - before) < spans:
            if time.monotonic() - began > 240:
                raise SystemExit(f"only {stored} of {spans} spans were stored")
            time.sleep(0.05)
        took = time.monotonic() - began
        collector, server = (after - earlier for after, earlier in zip(self.cpu_now(), cpu, strict=True))
        if stored != spans:
            raise SystemExit(f"{stored} rows for {spans} spans")
        return spans / took, (collector / spans * 1e6, server / spans * 1e6)

    def settle(self) -> None:
        """Wait for the merges of this round, so that they do not burden the next one."""
        end = time.monotonic() + 20
        while time.monotonic() < end and int(self.clickhouse.query("SELECT count() FROM system.merges")):
            time.sleep(0.2)


def main() -> None:
    end_cleanly()
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="fewer and smaller rounds, for CI")
    options.add_argument("--rounds", type=int)
    options.add_argument("--spans", type=int, help="spans of one round of one side")
    given = options.parse_args()
    if skipped("pipeline", "clickhouse", "collector"):
        return
    rounds = given.rounds or (3 if given.quick else 6)
    requests = max(1, (given.spans or (50_000 if given.quick else 150_000)) // 1_000)

    with (
        tempfile.TemporaryDirectory() as folder,
        clickhouses.clickhouse_server(Path(folder) / "clickhouse") as clickhouse,
    ):
        sides: list[Side] = []
        try:
            for name in DATABASES:
                sides.append(Side(name, clickhouse, parts.collector_binary(), Path(folder) / name))
            for side in sides:  # warm: caches, connections, first parts
                side.round([template(500, seed=i) for i in range(SENDERS)], 20)
                side.settle()
            for number in range(rounds):
                for side in sides if number % 2 == 0 else sides[::-1]:
                    templates = [template(500, seed=1_000 * (number + 1) + i) for i in range(SENDERS)]
                    rate, cpu = side.round(templates, requests)
                    side.rates.append(rate)
                    side.cpu.append(cpu)
                    side.settle()
        finally:
            for side in sides:
                side.collector.stop()
    exporter, ours = sides
    ratios = [mine / theirs for mine, theirs in zip(ours.rates, exporter.rates, strict=True)]
    ratio = median(ratios)
    rows = [
        [
            side.name,
            f"{median(side.rates):,.0f}",
            f"{median([collector for collector, _ in side.cpu]):.0f}",
            f"{median([server for _, server in side.cpu]):.0f}",
            f"{ratio:.2f}" if side is ours else "",
        ]
        for side in sides
    ]
    both = [median([collector + server for collector, server in side.cpu]) for side in sides]
    title = f"Collector and ClickHouse, {requests * 1_000:,} spans a round, median of {rounds} alternated rounds"
    table(
        title,
        ["schema", "spans/s stored", "collector, CPU µs per span", "server", f"of the exporter's (goal {GOAL})"],
        rows,
    )
    emit(
        "pipeline", rounds=rounds, spans=requests * 1_000, exporter_spans_per_second=round(median(exporter.rates)),
        ours_spans_per_second=round(median(ours.rates)), ratio=round(ratio, 3), ratio_min=round(min(ratios), 3), ratio_max=round(max(ratios), 3),
        cpu_ratio=round(both[1] / both[0], 3), goal=GOAL, met=ratio >= GOAL,
    )  # fmt: skip


if __name__ == "__main__":
    main()
