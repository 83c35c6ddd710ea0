"""The embedded server under load: spans per second stored and acknowledged, its CPU and its memory.

    python bench/embedded.py [--quick] [--seconds N]

A server of its own (what `otjobs up` runs) on an empty folder; four senders post requests of 512 job spans over
OTLP/HTTP, each as soon as its last one was acknowledged, for a minute. Afterwards every acknowledged span must be in
the table, and every job in the view. The goal: at least 5,000 spans/s sustained with at most 800 MB of memory.
"""

from __future__ import annotations

import argparse
import http.client
import tempfile
import threading
import time
from pathlib import Path

from figures import cpu_seconds_of, emit, end_cleanly, memory_mb, table
from job_spans import Template, template

from otjobs.backend.server import Server
from otjobs.backend.store import connect

GOAL_RATE, GOAL_MB = 5_000, 800
SENDERS = 4


class Load:
    """Senders that post until told to stop; counts what was acknowledged."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.acknowledged = 0
        self.refused = 0
        self.slowest = 0.0
        self.failure: BaseException | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(number,), daemon=True) for number in range(SENDERS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        if self.failure is not None:
            raise self.failure

    def _guarded(self, number: int) -> None:
        try:
            self._send(number)
        except BaseException as error:
            self.failure = error

    def _send(self, number: int) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
        made = time.monotonic()
        templates: list[Template] = []
        while not self._stop.is_set():
            if not templates or time.monotonic() - made > 5:  # times go on, as in life
                made = time.monotonic()
                templates = [template(256, seed=number * 1_000_000 + int(made * 10) + i) for i in range(2)]
            for one in templates:
                began = time.monotonic()
                connection.request("POST", "/v1/traces", one.fresh(), {"Content-Type": "application/x-protobuf"})
                answer = connection.getresponse()
                answer.read()
                took = time.monotonic() - began
                with self._lock:
                    self.slowest = max(self.slowest, took)
                    if answer.status == 200:
                        self.acknowledged += one.spans
                    else:
                        self.refused += 1
                if answer.status == 503:
                    time.sleep(float(answer.headers["Retry-After"]))
                elif answer.status != 200:
                    raise RuntimeError(f"status {answer.status}")


def main() -> None:
    end_cleanly()
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="ten seconds, for CI")
    options.add_argument("--seconds", type=float)
    given = options.parse_args()
    seconds = given.seconds or (10 if given.quick else 60)

    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        at, pid = server.endpoints, server.pid
        assert pid is not None
        load = Load(at.host, at.http_port)
        cpu, own, began = cpu_seconds_of(pid), time.process_time(), time.monotonic()
        load.start()
        worst, last, mark = float("inf"), 0, began
        while (left := began + seconds - time.monotonic()) > 0:
            time.sleep(min(left, 5.0))
            now, acknowledged = time.monotonic(), load.acknowledged
            if now - mark > 4:
                worst = min(worst, (acknowledged - last) / (now - mark))
                mark, last = now, acknowledged
        load.stop()
        took = time.monotonic() - began
        cpu, own = cpu_seconds_of(pid) - cpu, time.process_time() - own
        peak = memory_mb(pid, "VmHWM")
        store = connect(at.url)
        stored, distinct = store.query("SELECT count(), uniqExact(SpanId) FROM otel_traces").rows[0]
        jobs = store.query("SELECT count() FROM jobs").rows[0][0]
        store.close()
        peak_of_queries = memory_mb(pid, "VmHWM")
        lost = load.acknowledged - distinct
    rate = load.acknowledged / took
    met = rate >= GOAL_RATE and peak <= GOAL_MB and lost == 0 and jobs == load.acknowledged // 2
    rows = [
        ["spans/s stored and acknowledged", f"{rate:,.0f}", f">= {GOAL_RATE:,}"],
        ["the slowest five seconds, spans/s", f"{worst:,.0f}", ""],
        ["CPU of the server, µs per span", f"{cpu / load.acknowledged * 1e6:.0f}", ""],
        ["CPU of the generator, µs per span", f"{own / load.acknowledged * 1e6:.0f}", ""],
        ["peak memory of the server, MB", f"{peak:.0f}", f"<= {GOAL_MB}"],
        ["the same after counting all jobs, MB", f"{peak_of_queries:.0f}", ""],
        ["acknowledged spans not stored", str(lost), "0"],
        ["spans stored twice", str(stored - distinct), ""],
        ["jobs in the view, of those sent", f"{jobs:,} of {load.acknowledged // 2:,}", "all"],
        ["requests told to come back", str(load.refused), ""],
        ["slowest request, s", f"{load.slowest:.2f}", ""],
    ]
    table(f"The embedded server under load for {took:.0f} s", ["figure", "measured", "goal"], rows)
    emit(
        "embedded", seconds=round(took, 1), spans_per_second=round(rate), worst_spans_per_second=round(worst) if worst < 1e12 else None,
        server_cpu_us_per_span=round(cpu / load.acknowledged * 1e6, 1), peak_mb=round(peak), peak_with_queries_mb=round(peak_of_queries), lost=lost, refused=load.refused, met=met,
    )  # fmt: skip
    if lost or jobs != load.acknowledged // 2:
        raise SystemExit("spans were lost")


if __name__ == "__main__":
    main()
