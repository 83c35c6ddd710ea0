"""Workers of the yard under `opentelemetry-instrument`, their spans and the application's log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from pathlib import Path

import parts

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
MILLISECOND = 1_000_000


class Yard:
    """One queue, its processes, and what is known of them from both sides."""

    def __init__(self, folder, receiver, broker):
        self.folder, self.receiver, self.broker = folder, receiver, broker
        self.queue = f"yard-{uuid.uuid4().hex[:8]}"
        self.path = folder / "yard.jsonl"
        self.path.touch()
        self.processes = []
        self._app = None

    def environment(self, service, conf=None, **more):
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("OTEL_")},
            "YARD_BROKER": self.broker,
            "YARD_QUEUE": self.queue,
            "YARD_LOG": str(self.path),
            "YARD_CONF": json.dumps(conf or {}),
            "OTEL_SERVICE_NAME": f"{self.queue}-{service}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.receiver.url,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis",
            "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
            **more,
        }

    def start(self, name, *command, traced=True, conf=None, **environment):
        instrument = [str(PROGRAMS / "opentelemetry-instrument")] if traced else []
        process = parts.Process(
            [*instrument, sys.executable, *command],
            log=self.folder / f"{name}.log",
            env=self.environment(name, conf, **environment),
            cwd=self.folder,
        )
        self.processes.append(process)
        return process

    def worker(self, *options, name="worker", pool="prefork", concurrency=2, **more):
        command = (
            "-m",
            "celery",
            "-A",
            "yard",
            "worker",
            "-P",
            pool,
            "-c",
            str(concurrency),
            "-n",
            f"{name}@%h",
            "-l",
            "info",
        )
        process = self.start(name, *command, "--without-mingle", "--without-gossip", *options, **more)
        process.wait_ready(lambda: " ready." in process.output(), seconds=90, what="the worker")
        return process

    def produce(self, code, name="producer", check=True, **more):
        """Run Python code in a traced producer that has imported everything of the yard, and wait for its end."""
        process = self.start(name, "-c", f"from yard import *\n{code}", **more)
        process.popen.wait(60)
        if check:
            assert process.popen.returncode == 0, process.output()
        return process

    @property
    def app(self):
        """The application inside the test process: an un-instrumented producer and remote control."""
        if self._app is None:
            from celery import Celery

            self._app = Celery("yard", broker=self.broker, backend=self.broker, set_as_current=False)
            self._app.conf.task_default_queue = self.queue
            self._app.conf.result_backend_transport_options = {"global_keyprefix": self.queue}
        return self._app

    def log(self):
        return parts.json_lines(self.path)

    def seen(self, what, job=None):
        return [e for e in self.log() if e["what"] == what and job in (None, e["job"])]

    def wait_for(self, what, count=1, job=None, seconds=150):
        parts.wait_until(
            lambda: len(self.seen(what, job)) >= count,
            seconds=seconds,
            what=f"{count} x {what} {job or ''}\n{self._outputs()}",
        )

    def _outputs(self):
        return "\n".join(p.output(2000) for p in self.processes)

    @property
    def spans(self):
        return [s for s in self.receiver.spans if s.resource.get("service.name", "").startswith(self.queue)]

    def executions(self, job=None):
        found = [s for s in self.spans if s.operation == "execute" and job in (None, s.job)]
        return sorted(found, key=lambda s: s.start)

    def jobs(self):
        """Execute spans by job."""
        found = defaultdict(list)
        for span in self.executions():
            found[span.job].append(span)
        return found

    def wait_for_executions(self, count, job=None, seconds=60):
        try:
            parts.wait_until(lambda: len(self.executions(job)) >= count, seconds=seconds, what="spans")
        except TimeoutError:
            raise AssertionError(
                f"{len(self.executions(job))} of {count} execute spans arrived {job or ''}\n{self._outputs()}"
            ) from None

    def stop(self):
        for process in self.processes:
            process.signal(signal.SIGTERM)
        for process in self.processes:
            process.stop(15)
        if self._app is not None:
            self._app.close()


def stop(process, number=signal.SIGTERM, seconds=60):
    """Signal a process, wait for its end, and return how many seconds that took.

    A child that is recycled just then waits 30 seconds for its main process to read its last result, which that does no
    longer (billiard's `_ensure_messages_consumed`).
    """
    begun = time.monotonic()
    process.signal(number)
    try:
        process.popen.wait(seconds)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"still there after {seconds} s:\n{process.output()}") from None
    return time.monotonic() - begun


def counting(spans):
    """The span that counts of one attempt's: the report of the process that ran it, or else the latest observed one."""
    return max(spans, key=lambda s: (not s.get("otjobs.job.observed", False), s.end))


def brief(span):
    """Outcome, error type, and whether somebody else observed it."""
    return span["otjobs.job.outcome"], span.get("error.type", ""), span.get("otjobs.job.observed", False)
