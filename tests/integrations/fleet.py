"""The processes of one library: traced or plain producers, workers and schedulers of the same application."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import libraries
import parts
from harness import Story

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otlp_receiver import Receiver

T = TypeVar("T")
HERE = Path(__file__).resolve().parent
PROGRAMS = Path(sys.executable).parent
HIDDEN = "application.jobs.hidden"


class Producer:
    """A producer process that does what it is told, one command at a time."""

    def __init__(self, command: Sequence[str], env: dict[str, str], log: Path) -> None:
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
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._read()

    def _read(self) -> dict[str, Any]:
        # Lines of other libraries on stdout are not answers.
        for line in self._out:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise RuntimeError(f"the producer ended:\n{self._log.read_text(errors='replace')[-4000:]}")

    def run(self, command: str, **arguments: object) -> Any:
        self._in.write(json.dumps({"run": command, **arguments}) + "\n")
        self._in.flush()
        answer = self._read()
        if "error" in answer:
            raise AssertionError(answer.get("traceback", answer["error"]))
        return answer["result"]

    def send(self, job: str, *args: object, **options: object) -> str:
        """Send a job with the options of `application.library.Options`; return its id."""
        return str(self.run("send", job=job, args=args, **options))

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self) -> int:
        self._in.close()
        try:
            return self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class Worker:
    def __init__(self, name: str, process: parts.Process) -> None:
        self.name, self.process = name, process

    @property
    def output(self) -> str:
        return self.process.log.read_text(errors="replace")

    def stop(self, seconds: float = 15.0) -> int:
        return self.process.stop(seconds)


class Fleet:
    """One library's processes, each started when a scenario first asks for it."""

    def __init__(self, name: str, folder: Path, receiver: Receiver, broker: str) -> None:
        self.name, self.library = name, libraries.load(name)
        self.folder, self.receiver, self.broker = folder, receiver, broker
        self.path = folder / "app.jsonl"
        self.path.touch()
        self._kept: dict[str, Any] = {}
        self._started: list[Producer | Worker] = []

    def start(self) -> None:
        """Start what nearly all scenarios use, both at once."""
        with ThreadPoolExecutor() as both:
            for one in (both.submit(lambda: self.worker), both.submit(lambda: self.producer)):
                one.result()

    # What most scenarios use
    @property
    def producer(self) -> Producer:
        return self.keep("producer", self.start_producer)

    @property
    def plain_producer(self) -> Producer:
        return self.keep("plain-producer", self.start_producer, traced=False)

    @property
    def worker(self) -> Worker:
        return self.keep("worker", self.start_worker)

    @property
    def plain_worker(self) -> Worker:
        return self.keep("plain-worker", self.start_worker, queues=["plain"], traced=False)

    def keep(self, name: str, start: Callable[..., T], **how: object) -> T:
        """Return the process of that name, which lives until the library's last scenario has ended."""
        if name not in self._kept:
            self._kept[name] = start(name, **how)
        found: T = self._kept[name]
        return found

    # Its own of a scenario
    def start_producer(self, name: str, *, traced: bool = True, **environment: str) -> Producer:
        command = self._command(traced, "-m", "application.produce")
        found = Producer(command, self._environment(name, traced, **environment), self.folder / f"{name}.log")
        self._started.append(found)
        return found

    def start_worker(
        self,
        name: str,
        *,
        kind: str = "",
        queues: Sequence[str] = ("main", "side"),
        traced: bool = True,
        forgetful: bool = False,
        **environment: str,
    ) -> Worker:
        command = self._command(traced, *self.library.worker(kind or self.library.kinds[0], name, list(queues)))
        environment = {**self.library.environment(broker=self.broker, forgetful=forgetful), **environment}
        found = self._process(name, command, self._environment("worker", traced, **environment))
        found.process.wait_ready(lambda: self.library.ready(found.output), seconds=60, what=f"the worker {name}")
        return found

    def start_scheduler(self, name: str, entry: str, job: str) -> Worker:
        command = self._command(True, *self.library.scheduler())
        environment = self.library.environment(broker=self.broker)
        return self._process(name, command, self._environment(name, True, APP_SCHEDULE=f"{entry}={job}", **environment))

    def _process(self, name: str, command: list[str], environment: dict[str, str]) -> Worker:
        log = self.folder / f"{name}.log"
        found = Worker(name, parts.Process(command, log=log, env=environment, cwd=self.folder))
        self._started.append(found)
        return found

    def _command(self, traced: bool, *arguments: str) -> list[str]:
        return [str(PROGRAMS / "opentelemetry-instrument")] * traced + [sys.executable, *arguments]

    def _environment(self, service: str, traced: bool, **more: str) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("OTEL_")},
            "APP_LIBRARY": self.name,
            "APP_BROKER": self.broker,
            "APP_LOG": str(self.path),
            "APP_TRACED": str(int(traced)),
            "OTEL_SERVICE_NAME": service,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.receiver.url,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis,grpc_client,grpc_server,grpc_aio_client,grpc_aio_server",
            "OTEL_PYTHON_OTJOBS_SEND_SECONDS": "0.05",
            "OTEL_PYTHON_OTJOBS_BAGGAGE_LABELS": "tenant",
            "OTEL_PYTHON_OTJOBS_EXCLUDED_TYPES": HIDDEN,
            "PYTHONPATH": os.pathsep.join(p for p in (str(HERE), os.environ.get("PYTHONPATH")) if p),
            **more,
        }

    def story(self) -> Story:
        return Story(self.receiver, self.path, jobs_of_the_log=True)

    @property
    def faults(self) -> list[str]:
        """What otjobs complained about, in any process."""
        return [line for one in self._started for line in one.output.splitlines() if "otjobs: " in line]

    def stop(self) -> None:
        """Stop them all; a second call does nothing."""
        started, self._started = self._started, []
        threads = [threading.Thread(target=one.stop) for one in started]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
