"""What spans of other instrumentations cost a ClickHouse server, beside spans of otjobs' own.

    python bench/foreign.py [--quick] [--spans N] [--minutes M]

Spans are made by SQL and inserted in blocks of some 20,000, as the collector does: stock Celery's, a few to a trace
(`bench/sql/foreign_spans.sql`), then N of one single trace, and otjobs' own. CPU is that of the server, without merges of
before. It stops after `--minutes`, whatever it has, and removes its data.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import clickhouses
from blocks import Blocks
from figures import cpu_seconds_of, emit, end_cleanly, median, memory_mb, skipped, table

from otjobs.backend.store import Store, connect
from otjobs.backend.store.migrate import migrate

OURS, BLOCKS = "foreign_ours", "foreign_blocks"
WEEK = 7 * 86400 * 10**9
WORKFLOWS = 2450  # of one insert: some 20,000 spans
OWN = {"workflows": 10**6, "length": WEEK}


class Bench:
    """A server with our schema, a place to make blocks of spans in, and the moment to stop."""

    def __init__(self, server: clickhouses.ClickHouse, minutes: float) -> None:
        assert server.process is not None
        self.server, self.pid, self.until = server, server.process.pid, time.monotonic() + 60 * minutes
        self.store: Store = connect(server.database_url(OURS))
        migrate(self.store)
        self.store.command("SYSTEM STOP VIEWS")
        self.blocks = Blocks(server, BLOCKS)


class Inserts:
    """Inserts of one kind: their wall and CPU seconds."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.name = bench, name
        self.walls: list[float] = []
        self.cpus: list[float] = []
        self.spans = 0

    def insert(self, spans: str, **given: int) -> None:
        self.spans += self.bench.blocks.make(spans, given)
        time.sleep(0.2)
        cpu, began = cpu_seconds_of(self.bench.pid), time.perf_counter()
        self.bench.blocks.insert(OURS)
        self.walls.append(time.perf_counter() - began)
        self.cpus.append(cpu_seconds_of(self.bench.pid) - cpu)

    def row(self) -> list[str]:
        size = self.spans // len(self.walls)
        halves = [f"{x[0]:.2f} … {median(x):.2f} … {x[-1]:.2f}" for x in (self.walls, self.cpus)]
        return [self.name, str(len(self.walls)), f"{size:,}", *halves, f"{sum(self.cpus) / self.spans * 1e6:.1f}"]

    def figures(self) -> dict[str, Any]:
        return {
            "spans": self.spans,
            "inserts": len(self.walls),
            "median_s": round(median(self.walls), 3),
            "last_s": round(self.walls[-1], 3),
            "cpu_us_per_span": round(sum(self.cpus) / self.spans * 1e6, 1),
        }


def look(bench: Bench) -> float:
    """Return the CPU seconds of a look at the traces that have been quiet."""
    cpu = cpu_seconds_of(bench.pid)
    for _ in range(2):  # one may be under way
        bench.store.command("SYSTEM REFRESH VIEW foreign_attempts_again")
        bench.store.command("SYSTEM WAIT VIEW foreign_attempts_again")
    return cpu_seconds_of(bench.pid) - cpu


def main() -> None:
    end_cleanly()
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="a trace of 100,000 spans, for CI")
    options.add_argument("--spans", type=int, help="spans of the big trace (1,000,000)")
    options.add_argument("--minutes", type=float, default=10, help="stop after so long, whatever is done")
    given = options.parse_args()
    if skipped("foreign", "clickhouse"):
        return
    with tempfile.TemporaryDirectory() as folder, clickhouses.clickhouse_server(Path(folder)) as server:
        bench, rounds = Bench(server, given.minutes), 5 if given.quick else 12
        start, kinds = time.time_ns() - 3600 * 10**9, []
        own, own_few, many, few, one_trace = (
            Inserts(bench, name)
            for name in ("otjobs' own", "8 of otjobs' own", "foreign", "8 foreign", "foreign, one trace")
        )
        small = {"children": 3, "child": 0, "until": 4, "start": start}
        for number in range(rounds):
            own.insert("spans", first=number * 2500, count=2500, start=start - WEEK, until=start, **OWN)
            own_few.insert("spans", first=500_000 + number, count=1, start=start - WEEK, until=start, **OWN)
            few.insert("foreign_spans", first=10**6 + number, count=1, **small)
            many.insert("foreign_spans", first=number * WORKFLOWS, count=WORKFLOWS, **small)
        kinds += [own, own_few, many, few]
        total = given.spans or (100_000 if given.quick else 1_000_000)
        while one_trace.spans < total and time.monotonic() < bench.until:
            at = len(one_trace.walls) * 9_500
            one_trace.insert(
                "foreign_spans", first=10**7, count=1, children=10**9, child=at, until=at + 9_500, start=start
            )
        kinds.append(one_trace)
        table(
            "Inserts: seconds, first … median … last",
            ["spans", "inserts", "spans each", "wall", "CPU", "CPU µs per span"],
            [kind.row() for kind in kinds],
        )
        quiet = "arrived = arrived - toIntervalSecond(40)"
        bench.store.command(f"ALTER TABLE foreign_spans UPDATE {quiet} WHERE 1 SETTINGS mutations_sync = 2")
        bench.store.command("SYSTEM START VIEW foreign_attempts_again")
        all_traces, idle = look(bench), look(bench) / 2
        spans = sum(kind.spans for kind in kinds if kind not in (own, own_few))
        print(
            f"\nA look when nothing arrived: {idle:.3f} s of CPU; at the traces of {spans:,} spans: {all_traces:.1f} s"
        )
        emit(
            "foreign",
            **{kind.name: kind.figures() for kind in kinds},
            idle_look_cpu_s=round(idle, 3),
            server_peak_mb=round(memory_mb(bench.pid, "VmHWM")),
            look_cpu_us_per_span=round(all_traces / spans * 1e6, 1),
        )


if __name__ == "__main__":
    main()
