"""Celery behind the conformance harness: traced or plain producers, workers and beat on a broker."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import parts
from fleet import PROGRAMS, Producer, Worker
from harness import Story

APP = Path(__file__).resolve().parent / "celery_app"


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
        found = Producer(
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
        found = Worker(
            name, parts.Process(command, log=log, env=self.environment("worker", **environment), cwd=self.folder)
        )
        self._started.append(found)
        return found

    def worker(self, name="w", **options):
        return self.wait_ready(self.start_worker(name, **options))

    def wait_ready(self, worker):
        worker.process.wait_ready(
            lambda: f"{worker.name}@" in worker.output and " ready." in worker.output, seconds=60, what="the worker"
        )
        return worker

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
