"""What spans of other instrumentations cost a ClickHouse server, beside spans of otjobs' own.

    python bench/foreign.py [--quick] [--spans N] [--minutes M]

Spans are made by SQL and inserted in blocks of some 20,000, as the collector does: stock Celery's, a few to a trace
(`bench/sql/foreign_spans.sql`), then N of one single trace, and otjobs' own. CPU is that of the server, without merges of
before. It stops after `--minutes`, whatever it has, and removes its data.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import scale
from figures import cpu_seconds_of, emit, end_cleanly, median, table
from scale import OURS, THEIRS, Bench, text

from otjobs.store.migrate import migrate

WORKFLOWS = 2450  # of one insert: some 20,000 spans
OWN = {"workflows": 10**6, "length": scale.WEEK}


class Inserts:
    """Inserts of one kind: their wall and CPU seconds."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.name = bench, name
        self.walls: list[float] = []
        self.cpus: list[float] = []
        self.spans = 0

    def insert(self, spans: str, **given: int) -> None:
        self.bench.fill_block(spans, given)
        self.spans += int(self.bench.server.query(f"SELECT count() FROM {THEIRS}.block"))
        time.sleep(0.2)
        cpu, began = cpu_seconds_of(self.bench.pid), time.perf_counter()
        self.bench.insert_block(OURS)
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


def idle(bench: Bench, seconds: float = 20) -> float:
    """Return the CPU seconds a minute that the look at what arrived lately takes while nothing does."""
    cpu, began, rounds = cpu_seconds_of(bench.pid), time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        bench.store(OURS).command("SYSTEM REFRESH VIEW foreign_attempts_again")
        bench.store(OURS).command("SYSTEM WAIT VIEW foreign_attempts_again")
        rounds += 1
    return (cpu_seconds_of(bench.pid) - cpu) / rounds


def main() -> None:
    end_cleanly()
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="a trace of 100,000 spans, for CI")
    options.add_argument("--spans", type=int, help="spans of the big trace (1,000,000)")
    options.add_argument("--minutes", type=float, default=10, help="stop after so long, whatever is done")
    given = options.parse_args()
    there, how = scale.parts.PARTS["clickhouse"]
    if not there():
        print(f"foreign: skipped, ClickHouse is not there; get it with: {how}")
        emit("foreign", skipped="no clickhouse")
        return
    with tempfile.TemporaryDirectory() as folder, scale.parts.clickhouse_server(Path(folder)) as server:
        bench, rounds = Bench(server, given.minutes), 5 if given.quick else 12
        migrate(bench.store(OURS))
        server.query(f"CREATE DATABASE {THEIRS}")
        server.query(text("exporter", database=THEIRS))
        server.query(text("make_block", database=THEIRS))
        bench.store(OURS).command("SYSTEM STOP VIEWS")
        start, kinds = time.time_ns() - 3600 * 10**9, []
        own, one, many, one_trace = (
            Inserts(bench, name) for name in ("otjobs' own", "8 foreign spans", "foreign", "foreign, one trace")
        )
        small = {"children": 3, "child": 0, "until": 4, "start": start}
        for number in range(rounds):
            own.insert("spans", first=number * 2500, count=2500, start=start - scale.WEEK, until=start, **OWN)
            one.insert("foreign_spans", first=10**6 + number, count=1, **small)
            many.insert("foreign_spans", first=number * WORKFLOWS, count=WORKFLOWS, **small)
        kinds += [own, one, many]
        total = given.spans or (100_000 if given.quick else 1_000_000)
        while one_trace.spans < total and not bench.spent():
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
        time.sleep(0.5)
        bench.store(OURS).command("SYSTEM START VIEW foreign_attempts_again")
        look = idle(bench, 5)
        print(f"\nThe look at what arrived lately: {look:.3f} s of CPU")
        jobs, attempts = (
            bench.store(OURS)
            .query("SELECT count(), sum(attempts) FROM jobs WHERE queue IN ('orders', 'mails') AND workflow_type = ''")
            .rows[0]
        )
        print(jobs, attempts)
        emit("foreign", **{kind.name: kind.figures() for kind in kinds}, look_cpu_s=round(look, 3))


if __name__ == "__main__":
    main()
