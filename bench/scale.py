"""The figures at scale: a week of jobs in a real ClickHouse server, and how long each question takes.

    python bench/scale.py [--quick] [--jobs N] [--big-jobs N] [--minutes M] [--keep FILE]

Spans of N jobs over seven days are made by SQL (`bench/sql/spans.sql`) and inserted in blocks of some 20,000, as the
collector does, in turn into our schema with all its views and into the bare schema of the exporter 0.161. Then the bytes
at rest after OPTIMIZE, every named query over 1 h, 24 h and 7 d, the same figures from raw spans, a workflow of a million
jobs with 5,000 job types, and the error of merged quantiles. CPU is that of the server, background work included.
It stops after `--minutes`, whatever it has, and removes its data; `--keep` names a file that has every figure as soon as it
is there. Ten million jobs take 20 minutes on two quiet cores, eight of them to load.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import clickhouses
from blocks import Blocks, text
from figures import cpu_seconds_of, emit, end_cleanly, median, skipped, table

from otjobs.backend.store import Store, connect
from otjobs.backend.store.migrate import migrate
from otjobs.backend.store.sql_files import named_query, query_names
from otjobs.errors import OtjobsError

OURS, THEIRS, BIG = "scale_ours", "scale_exporter", "scale_big"
WEEK = 7 * 86400 * 10**9
RANGES = {"1 h": 3600, "24 h": 86400, "7 d": 604800}
BLOCK = 2500  # workflows of one insert: some 20,000 spans
BESIDE = {"queue_times": "raw_waits", "runtimes": "raw_runtimes", "workflow_times": "raw_workflow_times"}


def ms(seconds: float) -> int | None:
    """Return whole milliseconds; None of what failed."""
    return None if math.isnan(seconds) else round(seconds * 1000)


class Bench:
    """The server, what was measured, and the moment to stop."""

    def __init__(self, server: clickhouses.ClickHouse, minutes: float, keep: Path | None) -> None:
        self.server, self.until = server, time.monotonic() + 60 * minutes
        self.load_until = time.monotonic() + 30 * minutes  # half of the time is for the questions
        self.keep = keep
        self.figures: dict[str, Any] = {"load_average": round(os.getloadavg()[0], 1)}
        assert server.process is not None
        self.pid = server.process.pid
        self.blocks = Blocks(server, THEIRS)
        self.stores: dict[str, Store] = {}

    def store(self, database: str) -> Store:
        if database not in self.stores:
            self.stores[database] = connect(self.server.database_url(database))
        return self.stores[database]

    def note(self, section: str = "", **figures: Any) -> None:
        """Keep figures, of a section or of the whole, also for the case that this process is killed."""
        (self.figures.setdefault(section, {}) if section else self.figures).update(figures)
        if self.keep:
            self.keep.write_text(json.dumps(self.figures, indent=1, default=str))

    def spent(self) -> bool:
        return time.monotonic() > self.until

    def timed(self, run: Any, rounds: int = 2) -> tuple[float, float, Any]:
        """Return the least wall and CPU seconds of some runs, and the answer."""
        walls, cpus, answer = [], [], None
        for _ in range(rounds):
            cpu, began = cpu_seconds_of(self.pid), time.perf_counter()
            try:
                answer = run()
            except OtjobsError as problem:  # too much for the server: that is a result, too
                print(f"failed after {time.perf_counter() - began:.0f} s: {problem}")
                return float("nan"), float("nan"), None
            walls.append(time.perf_counter() - began)
            cpus.append(cpu_seconds_of(self.pid) - cpu)
            if sum(walls) > 5 or self.spent():
                break
        return min(walls), min(cpus), answer

    def settle(self, database: str) -> None:
        """Let everything become stored rows: once a minute has passed, nothing else can have changed them."""
        store, end = self.store(database), time.monotonic() + 900
        time.sleep(62)
        behind = math.inf
        while behind > 10 and time.monotonic() < min(end, self.until):  # the running minutes are never at rest
            for view in ("workflow_rows_mv", "minute_rows_mv"):
                store.command(f"SYSTEM REFRESH VIEW {view}")
                store.command(f"SYSTEM WAIT VIEW {view}")
            behind = int(store.query(text("behind")).rows[0][0])

    def optimize(self, database: str) -> None:
        """A partition at a time: no statement may take longer than a client waits."""
        for name, partition in self.store(database).query(text("partitions"), {"database": database}).rows:
            self.store(database).command(f"OPTIMIZE TABLE {database}.`{name}` PARTITION ID '{partition}' FINAL")


def load(bench: Bench, jobs: int) -> int:
    """Insert the spans in turn, and note the rate of each side over its own time; return how many jobs."""
    workflows, now, start = jobs // 4, time.time_ns(), time.monotonic()
    took, cpu = dict.fromkeys((OURS, THEIRS), 0.0), dict.fromkeys((OURS, THEIRS), 0.0)
    ratios, first = [], 0
    while first < workflows and time.monotonic() < bench.load_until:
        given = {"first": first, "count": min(BLOCK, workflows - first), "workflows": workflows, "start": now - WEEK}
        bench.blocks.make("spans", {**given, "length": WEEK, "until": now})
        pair = {}
        for database in (OURS, THEIRS) if first // BLOCK % 2 else (THEIRS, OURS):
            used, began = cpu_seconds_of(bench.pid), time.perf_counter()
            bench.blocks.insert(database)
            pair[database] = time.perf_counter() - began
            took[database] += pair[database]
            cpu[database] += cpu_seconds_of(bench.pid) - used
        ratios.append(pair[THEIRS] / pair[OURS])
        first += given["count"]
    spans = int(bench.store(OURS).query("SELECT count() FROM otel_traces").rows[0][0])
    rows = [[d, f"{spans / took[d]:,.0f}", f"{cpu[d] / spans * 1e6:.1f}"] for d in (THEIRS, OURS)]
    table(
        f"Insert, {spans:,} spans of {first * 4:,} jobs",
        ["schema", "spans/s", "CPU µs per span"],
        rows,
    )
    bench.note(
        jobs=first * 4, spans=spans, insert_rate_ratio=round(median(ratios), 3),
        insert_cpu_ratio=round(cpu[OURS] / cpu[THEIRS], 3), spans_per_second=round(spans / took[OURS]),
        load_seconds=round(time.monotonic() - start),
    )  # fmt: skip
    return first * 4


def at_rest(bench: Bench, jobs: int) -> None:
    """Bytes of every table after OPTIMIZE, ours beside the exporter's."""
    found = {}
    for database in (OURS, THEIRS):
        bench.optimize(database)
        found[database] = bench.store(database).query(text("bytes"), {"database": database}).rows
    rows = [[f"{d}.{name}", f"{size / jobs:.1f}", f"{n:,}"] for d in found for name, size, n in found[d]]
    table("At rest", ["table", "bytes per job", "rows"], rows)
    columns = bench.store(OURS).query(text("column_bytes"), {"database": OURS}).rows
    table("Its largest columns", ["column", "bytes per job"], [[f"{t}.{c}", f"{b / jobs:.1f}"] for t, c, b in columns])
    sums = {d: sum(size for _, size, _ in found[d]) for d in found}
    bench.note(
        bytes_per_job=round(sums[OURS] / jobs, 1), exporter_bytes_per_job=round(sums[THEIRS] / jobs, 1),
        bytes_ratio=round(sums[OURS] / sums[THEIRS], 3), bytes_goal=1.5,
        tables={name: round(size / jobs, 1) for name, size, _ in found[OURS]},
    )  # fmt: skip


def questions(bench: Bench) -> None:
    """Time every named query."""
    store = bench.store(OURS)
    job, workflow = store.query(text("pick")).rows[0]
    known = {"job_id": job, "workflow_id": workflow, "prefix": job[:8], "label": "customer"}
    rows = []
    for name in query_names():
        if bench.spent():
            break
        given = {key: value for key, value in known.items() if key in named_query(name).types}
        if name == "slowest_jobs":
            given |= {"job_type": "shop.charge", "limit": "100"}
        ranges = RANGES if "seconds" in named_query(name).types else {"": None}
        cells = []
        for label, seconds in ranges.items():
            more = {} if seconds is None else {"seconds": seconds}
            wall, cpu, _ = bench.timed(lambda given=given, name=name, more=more: store.named(name, **given, **more))
            cells.append(f"{ms(wall)} ms ({ms(cpu)})")
            bench.note("queries", **{f"{name} {label}".strip(): {"ms": ms(wall), "cpu_ms": ms(cpu)}})
        rows.append([name, *cells, ""] if seconds is not None else [name, "", "", "", *cells])
    table("Named queries: wall (CPU of the server)", ["query", *RANGES, "no range"], rows)


def beside_raw(bench: Bench) -> None:
    """The same figures from raw spans."""
    rows = []
    for name, raw in BESIDE.items():
        for label, seconds in RANGES.items():
            if bench.spent():
                break
            ours = bench.timed(lambda name=name, s=seconds: bench.store(OURS).named(name, seconds=s))
            theirs = bench.timed(lambda raw=raw, s=seconds: bench.store(THEIRS).query(text(raw), {"seconds": s}))
            rows.append(
                [
                    name,
                    label,
                    *(f"{ms(x[0])} ms ({ms(x[1])})" for x in (ours, theirs)),
                    f"{theirs[1] / max(ours[1], 0.01):.1f}",
                ]
            )
            found = {"ms": ms(ours[0]), "raw_ms": ms(theirs[0]), "cpu_ms": ms(ours[1]), "raw_cpu_ms": ms(theirs[1])}
            bench.note("beside_raw", **{f"{name} {label}": found})
    table("The same from raw spans: wall (CPU)", ["figure", "range", "ours", "raw", "times the CPU"], rows)


def big(bench: Bench, jobs: int, types: int = 5000) -> None:
    """A workflow of very many jobs, of very many types in one queue."""
    store = bench.store(BIG)
    migrate(store)
    start, first = time.time_ns() - jobs * 10**6 - 600 * 10**9, 0
    while first < jobs and not bench.spent():
        count = min(20_000, jobs - first)
        bench.blocks.make(
            "big_workflow", {"first": first, "count": count, "jobs": jobs, "start": start, "types": types}
        )
        bench.blocks.insert(BIG)
        first += count
    figures = {}
    for moment in ("just arrived", "stored"):
        if bench.spent():
            break
        for what in ("big_figures", "big_types"):
            wall, cpu, answer = bench.timed(lambda what=what: store.query(text(what)))
            rows = answer.rows if answer else []
            figures[f"{what}, {moment}"] = {
                "ms": ms(wall),
                "cpu_ms": ms(cpu),
                "answer": rows if len(rows) == 1 else len(rows),
            }
            bench.note("big", **figures)
        bench.settle(BIG)
    table(
        f"A workflow of {first:,} jobs of {types:,} types",
        ["question", "wall", "CPU"],
        [[k, f"{v['ms']} ms", f"{v['cpu_ms']} ms"] for k, v in figures.items()],
    )


def main() -> None:
    end_cleanly()
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="100,000 jobs, for CI")
    options.add_argument("--jobs", type=int, help="jobs over seven days, up to 10 million (1,000,000)")
    options.add_argument("--big-jobs", type=int, help="jobs of the big workflow (1,000,000; 0 is none)")
    options.add_argument(
        "--minutes", type=float, help="stop after so long, whatever is done (20, or 6 for each million)"
    )
    options.add_argument("--keep", type=Path, help="write every figure to this file as soon as it is there")
    given = options.parse_args()
    if skipped("scale", "clickhouse"):
        return
    jobs = min(given.jobs or (100_000 if given.quick else 1_000_000), 10_000_000)
    big_jobs = given.big_jobs if given.big_jobs is not None else (50_000 if given.quick else 1_000_000)
    with tempfile.TemporaryDirectory() as folder, clickhouses.clickhouse_server(Path(folder)) as server:
        bench = Bench(server, given.minutes or max(20, jobs * 6e-6), given.keep)
        try:
            measure(bench, jobs, big_jobs)
        finally:
            emit("scale", **bench.figures, stopped_early=bench.spent())


def measure(bench: Bench, jobs: int, big_jobs: int) -> None:
    """Load, then ask, while there is time."""
    migrate(bench.store(OURS))
    loaded = load(bench, jobs)
    bench.settle(OURS)
    at_rest(bench, loaded)
    beside_raw(bench)
    questions(bench)
    wall, _, answer = bench.timed(
        lambda: bench.store(OURS).query(text("quantile_error"), {"seconds": 604800}), rounds=1
    )
    if answer:
        bench.note(quantile_error=round(answer.rows[0][0], 4))
        print(f"\nLargest relative error of quantiles merged over 7 days: {answer.rows[0][0]:.2%} ({wall:.1f} s)")
    if big_jobs and not bench.spent():
        big(bench, big_jobs)


if __name__ == "__main__":
    main()
