"""What it costs that spans leave their process after one second, in place of the SDK's five.

    python bench/sending.py [--quick] [--rate JOBS_A_SECOND ...]

Each run is a process of its own that runs jobs at a steady rate and sends their spans over OTLP/HTTP to a sink in
another process; what counts is the CPU time of the process, exporter threads included. The two delays alternate. Where
many jobs end, batches fill before either delay is over and nothing changes; where few do, there are more requests.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

from celery_overhead import clean_environment, cpu_seconds, sink
from figures import emit, end_cleanly, median, table

DELAYS = (5.0, 1.0)


def run_one(endpoint: str, rate: float, seconds: float) -> None:
    """Print the CPU seconds of this process for that many seconds of jobs at that rate, as JSON."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    import otjobs

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
    trace.set_tracer_provider(provider)
    carrier = {"system": "bench", "id": "1", "type": "bench.job", "queue": "bench"}

    def jobs(count: int) -> None:
        begun = time.monotonic()
        for number in range(count):
            with otjobs.executing(carrier):
                pass
            time.sleep(max(0.0, begun + (number + 1) / rate - time.monotonic()))

    jobs(int(rate))
    otjobs.flush()
    began = cpu_seconds()
    jobs(int(rate * seconds))
    otjobs.flush()
    sys.stdout.write(json.dumps(cpu_seconds() - began))


def measure(endpoint: str, rate: float, seconds: float, delay: float) -> float:
    command = [sys.executable, __file__, "--endpoint", endpoint, "--rate", str(rate), "--seconds", str(seconds)]
    environment = {**clean_environment(), "OTEL_PYTHON_OTJOBS_SEND_SECONDS": str(delay)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=True)
    return float(json.loads(done.stdout))


def main() -> None:
    end_cleanly()
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="fewer rounds, for CI")
    options.add_argument("--rate", type=float, nargs="*", default=[5.0, 50.0, 500.0], help="jobs a second")
    options.add_argument("--seconds", type=float, help="of each run; 20, or 8 with --quick")
    options.add_argument("--endpoint", default="", help=argparse.SUPPRESS)
    given = options.parse_args()
    given.seconds = given.seconds or (8.0 if given.quick else 20.0)
    if given.endpoint:
        run_one(given.endpoint, given.rate[0], given.seconds)
        return
    rounds = 1 if given.quick else 3
    rows, figures = [], {}
    with sink() as endpoints:
        for rate in given.rate:
            seen: dict[float, list[float]] = {delay: [] for delay in DELAYS}
            for number in range(rounds):
                for delay in DELAYS if number % 2 == 0 else DELAYS[::-1]:
                    seen[delay].append(measure(endpoints["http"], rate, given.seconds, delay))
            slow, soon = (median(seen[delay]) / given.seconds for delay in DELAYS)
            ratio = median([b / a for a, b in zip(seen[5.0], seen[1.0], strict=True)])
            rows.append([f"{rate:g}", f"{slow * 100:.2f} %", f"{soon * 100:.2f} %", f"{ratio:.2f}"])
            figures[f"{rate:g}"] = {"five": round(slow, 5), "one": round(soon, 5), "ratio": round(ratio, 3)}
    table(
        f"CPU of one core, {given.seconds:g} s a run, median of {rounds} alternated rounds",
        ["jobs/s", "after 5 s", "after 1 s", "ratio"],
        rows,
    )
    emit("sending", seconds=given.seconds, rounds=rounds, cpus=os.cpu_count(), figures=figures)


if __name__ == "__main__":
    main()
