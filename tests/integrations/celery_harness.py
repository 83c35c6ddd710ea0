"""Celery behind the conformance harness: traced or plain producers, workers and beat on a broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import parts
from harness import Story

APP = Path(__file__).resolve().parent / "celery_app"
PROGRAMS = Path(sys.executable).parent


class CeleryProducer:
    """A producer process that runs scenarios on request."""

    def __init__(self, command, env, log):
        self._log = log
        self._process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("ab"),
            text=True,
            cwd=log.parent,
        )
        self._read()

    def _read(self):
        # Lines of other libraries on stdout are not answers.
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"the producer ended:\n{self._log.read_text(errors='replace')[-4000:]}")

    def run(self, scenario, **arguments):
        self._process.stdin.write(json.dumps({"run": scenario, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if "error" in answer:
            raise AssertionError(answer["traceback"])
        return answer["result"]

    @property
    def output(self):
        return self._log.read_text(errors="replace")

    def stop(self):
        self._process.stdin.close()
        try:
            return self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class CeleryWorker:
    def __init__(self, name, process):
        self.name, self.process = name, process

    @property
    def output(self):
        return self.process.log.read_text(errors="replace")

    def ready(self):
        self.process.wait_ready(
            lambda: f"{self.name}@" in self.output and " ready." in self.output, seconds=40, what="the worker"
        )
        return self

    def stop(self, seconds=15.0):
        return self.process.stop(seconds)


class CeleryHarness:
    system = "celery"

    def __init__(self, folder, receiver, broker, backend=None):
        self.folder, self.receiver, self.broker = folder, receiver, broker
        self.backend = broker if backend is None else backend
        self.path = folder / "app.jsonl"
        self._started = []
        folder.mkdir(parents=True, exist_ok=True)

    def environment(self, service, **more):
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("OTEL_")},
            "APP_BROKER": self.broker,
            "APP_BACKEND": self.backend,
            "APP_LOG": str(self.path),
            "OTEL_SERVICE_NAME": service,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.receiver.url,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis,grpc_client,grpc_server,grpc_aio_client,grpc_aio_server",
            "PYTHONPATH": os.pathsep.join(p for p in (str(APP), os.environ.get("PYTHONPATH")) if p),
            **more,
        }

    def _command(self, traced, *command):
        return [str(PROGRAMS / "opentelemetry-instrument")] * traced + [sys.executable, *command]

    def producer(self, name="producer", *, traced=True, **environment):
        found = CeleryProducer(
            self._command(traced, str(APP / "producing.py")),
            self.environment(name, **environment),
            self.folder / f"{name}.log",
        )
        self._started.append(found)
        return found

    def start_worker(
        self,
        name="w",
        *,
        pool="prefork",
        concurrency=2,
        queues="main,side,media,topical",
        traced=True,
        options=(),
        **environment,
    ):
        """Start a worker without waiting for it."""
        command = self._command(
            traced, "-m", "celery", "-A", "conformance_app", "worker", "-P", pool, "-c", str(concurrency)
        )
        command += ["-Q", queues, "-n", f"{name}@%h", "-l", "info", "--without-mingle", "--without-gossip", *options]
        log = self.folder / f"{name}.log"
        found = CeleryWorker(
            name, parts.Process(command, log=log, env=self.environment("worker", **environment), cwd=self.folder)
        )
        self._started.append(found)
        return found

    def worker(self, name="w", **options):
        return self.start_worker(name, **options).ready()

    def beat(self, name="beat", **environment):
        command = self._command(
            True,
            "-m",
            "celery",
            "-A",
            "conformance_app",
            "beat",
            "-l",
            "info",
            "--schedule",
            str(self.folder / "schedule"),
        )
        found = CeleryWorker(
            name,
            parts.Process(
                command, log=self.folder / f"{name}.log", env=self.environment(name, **environment), cwd=self.folder
            ),
        )
        self._started.append(found)
        return found

    def story(self):
        return Story(self.receiver, self.path)

    def log(self):
        return parts.json_lines(self.path)

    def stop(self):
        threads = [threading.Thread(target=one.stop) for one in self._started]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
