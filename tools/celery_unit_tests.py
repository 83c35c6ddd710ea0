"""Run Celery's own unit tests plain and instrumented, and name the ones that fail only instrumented.

`python tools/celery_unit_tests.py [folder of t/unit ...]` gets the source of the installed Celery by pip, and what its
tests need beside the development tools. All of them take about ten minutes each way on a quiet machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

NEEDED = ("pytest-celery", "pytest-click", "pytest-order", "pytest-rerunfailures", "pytest-timeout", "freezegun")
PLUGIN = """
import os
if os.environ.get("TRACED"):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    trace.set_tracer_provider(provider)
    from otjobs.integrations.celery import CeleryInstrumentor
    CeleryInstrumentor().instrument()
"""


def pip(*arguments: str | Path) -> None:
    """Run pip quietly."""
    subprocess.run([sys.executable, "-m", "pip", "-q", *map(str, arguments)], check=True)


def failed(source: Path, extra: Path, folders: list[str], *, traced: bool) -> set[str]:
    """Run the tests and return the names of those that fail."""
    report = extra / f"report-{traced}.txt"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (extra, source))),
        "TRACED": "1" if traced else "",
        # Celery's tests want no thread to be left over; the one that sends beacons stays.
        "OTEL_PYTHON_OTJOBS_BEACON_AFTER": "0",
    }
    command = [sys.executable, "-m", "pytest", "-p", "traced_celery", "-p", "no:cacheprovider", "-q", "-rfE"]
    command += ["--timeout", "120", "--continue-on-collection-errors", *folders]
    with report.open("w") as out:
        subprocess.run(command, cwd=source, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False)
    lines = report.read_text(errors="replace").splitlines()
    print("instrumented:" if traced else "plain:", lines[-1])
    return {line.split(" - ")[0] for line in lines if line.startswith(("FAILED ", "ERROR "))}


def main(folders: list[str]) -> int:
    """Return 1 if a test fails only instrumented."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        extra = work / "extra"
        pip("install", "--target", extra, "--no-deps", *NEEDED)
        pip("download", "-d", work, "--no-deps", "--no-binary", "celery", f"celery=={version('celery')}")
        (extra / "traced_celery.py").write_text(PLUGIN)
        with tarfile.open(next(work.glob("celery-*.tar.gz"))) as archive:
            archive.extractall(work, filter="data")
        source = next(path for path in work.glob("celery-*") if path.is_dir())
        folders = folders or ["t/unit"]
        plain = failed(source, extra, folders, traced=False)
        only = sorted(failed(source, extra, folders, traced=True) - plain)
    print(f"{len(only)} fail only instrumented", *only, sep="\n")
    return int(bool(only))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
