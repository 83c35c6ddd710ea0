"""The processes of one library: traced or plain producers, workers and schedulers of the same application."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import libraries
import parts
from harness import Story

HERE = Path(__file__).resolve().parent
PROGRAMS = Path(sys.executable).parent
HIDDEN = "application.jobs.hidden"


class Producer:
    """A producer process that does what it is told, one command at a time."""

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

    def run(self, command, **arguments):
        self._process.stdin.write(json.dumps({"run": command, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if "error" in answer:
            raise AssertionError(answer.get("traceback", answer["error"]))
        return answer["result"]

    def send(self, job, *args, **options):
        """Send a job with the options of `application.library.Options`; return its id."""
        return self.run("send", job=job, args=args, **options)

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


class Worker:
    def __init__(self, name, process):
        self.name, self.process = name, process

    @property
    def output(self):
        return self.process.log.read_text(errors="replace")

    def stop(self, seconds=15.0):
        return self.process.stop(seconds)


class Fleet:
    """One library's processes, each started when a scenario first asks for it."""

    def __init__(self, name, folder, receiver, broker):
        self.name, self.library = name, libraries.load(name)
        self.folder, self.receiver, self.broker = folder, receiver, broker
        self.path = folder / "app.jsonl"
        self.path.touch()
        self._kept, self._started = {}, []

    def start(self):
        """Start what nearly all scenarios use, both at once."""
        with ThreadPoolExecutor() as both:
            for one in (both.submit(lambda: self.worker), both.submit(lambda: self.producer)):
                one.result()

    # What most scenarios use
    @property
    def producer(self):
        return self.keep("producer", self.start_producer)

    @property
    def plain_producer(self):
        return self.keep("plain-producer", self.start_producer, traced=False)

    @property
    def worker(self):
        return self.keep("worker", self.start_worker)

    @property
    def plain_worker(self):
        return self.keep("plain-worker", self.start_worker, queues=["plain"], traced=False)

    def keep(self, name, start, **how):
        """Return the process of that name, which lives until the library's last scenario has ended."""
        if name not in self._kept:
            self._kept[name] = start(name, **how)
        return self._kept[name]

    # Its own of a scenario
    def start_producer(self, name, *, traced=True, **environment):
        command = self._command(traced, "-m", "application.produce")
        found = Producer(command, self._environment(name, traced, **environment), self.folder / f"{name}.log")
        self._started.append(found)
        return found

    def start_worker(self, name, *, kind="", queues=("main", "side"), traced=True, forgetful=False, **environment):
        command = self._command(traced, *self.library.worker(kind or self.library.kinds[0], name, list(queues)))
        environment = {**self.library.environment(broker=self.broker, forgetful=forgetful), **environment}
        found = self._process(name, command, self._environment("worker", traced, **environment))
        found.process.wait_ready(lambda: self.library.ready(found.output), seconds=60, what=f"the worker {name}")
        return found

    def start_scheduler(self, name, entry, job):
        command = self._command(True, *self.library.scheduler())
        environment = self.library.environment(broker=self.broker)
        return self._process(name, command, self._environment(name, True, APP_SCHEDULE=f"{entry}={job}", **environment))

    def _process(self, name, command, environment):
        log = self.folder / f"{name}.log"
        found = Worker(name, parts.Process(command, log=log, env=environment, cwd=self.folder))
        self._started.append(found)
        return found

    def _command(self, traced, *arguments):
        return [str(PROGRAMS / "opentelemetry-instrument")] * traced + [sys.executable, *arguments]

    def _environment(self, service, traced, **more):
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

    def story(self):
        return Story(self.receiver, self.path, jobs_of_the_log=True)

    @property
    def faults(self):
        """What otjobs complained about, in any process."""
        return [line for one in self._started for line in one.output.splitlines() if "otjobs: " in line]

    def stop(self):
        threads = [threading.Thread(target=one.stop) for one in self._started]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
