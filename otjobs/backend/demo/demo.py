"""The demo from start to end: server, workers, beat, customers; then wait until everything is told."""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otjobs.backend.demo.processes import Processes
from otjobs.backend.server import Endpoints, Server
from otjobs.backend.store import Store, connect
from otjobs.errors import ConfigurationError, MissingExtraError, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START_SECONDS: Final = 60.0
DRAIN_SECONDS: Final = 60.0
WORKERS: Final = {"shop-worker": ("orders,payments,warehouse,mails", 2), "shop-office": ("invoices", 1)}
_POLL_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the demo is: the step, the share of its time (0 to 1), and what the store has seen."""

    step: str
    share: float
    jobs: int = 0
    open_jobs: int = 0
    failed: int = 0


class Demo:
    """A running demo; `running` makes one.

    Attributes:
        store: the embedded server's database.
        endpoints: where the embedded server is reached.
        folder: logs, messages and data.
        began_at: unix time of its begin, seconds.
    """

    def __init__(
        self, folder: Path, endpoints: Endpoints, store: Store, broker: str, tell: Callable[[Progress], None]
    ) -> None:
        self.folder, self.endpoints, self.store = folder, endpoints, store
        self.began_at = time.time()
        self._tell = tell
        self.processes = Processes(
            folder,
            {
                "OTJOBS_DEMO_FOLDER": str(folder / "broker"),
                "OTJOBS_DEMO_BROKER": broker,
                "OTJOBS_DEMO_PREFIX": folder.name,
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoints.otlp_http,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_TIMEOUT": "5",
                "OTEL_TRACES_EXPORTER": "otlp",
                "OTEL_METRICS_EXPORTER": "none",
                "OTEL_LOGS_EXPORTER": "none",
                "OTEL_PROPAGATORS": "tracecontext,baggage",
                "OTEL_TRACES_SAMPLER": "always_on",
                "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.0.0,service.namespace=otjobs-demo",
                # A child that is killed takes the spans it still holds with it; the demo shows one.
                "OTEL_BSP_SCHEDULE_DELAY": "250",
            },
        )

    def run(self, seconds: float, *, keep: bool = False) -> None:
        """Let customers place orders for `seconds`; return when all their jobs have ended and their spans arrived.

        Args:
            seconds: how long orders are placed.
            keep: let the customers go on, and return after `seconds`.

        Raises:
            ProcessDiedError: a process of the demo ended by itself.
            ServerError: the workers did not start, or jobs stayed open.
        """
        self._start_workers()
        limit = [] if keep else ["--seconds", str(seconds)]
        self.processes.start("shop-web", "-m", "otjobs.backend.demo.customers", *limit)
        self.processes.start("shop-beat", *_celery("beat", "-s", str(self.folder / "beat-schedule")))
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if left > 1:  # the customers may leave a little earlier
                self.processes.check()
            self._report("orders come in", 1 - left / seconds)
            time.sleep(_POLL_SECONDS)
        if keep:
            return
        self._wait(lambda: self.processes.finished("shop-web"), 15.0, "the customers left")
        self.processes.stop(["shop-beat"])
        self._drain()
        self.processes.stop()
        self._settle()

    def _start_workers(self) -> None:
        for name, (queues, children) in WORKERS.items():
            options = ["-n", f"{name}@%h", "-Q", queues, "-c", str(children), "-l", "INFO"]
            quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
            self.processes.start(name, *_celery("worker", *options, *quiet))
        begun = time.monotonic()

        def ready() -> bool:
            self._tell(Progress("workers start", min(1.0, (time.monotonic() - begun) / 10)))
            return all(" ready." in self.processes.log(name) for name in WORKERS)

        self._wait(ready, START_SECONDS, "the workers started")

    def _drain(self) -> None:
        """Wait until every job that anybody knows of has ended."""
        begun = time.monotonic()

        def drained() -> bool:
            seen = self._report("the last jobs end", min(1.0, (time.monotonic() - begun) / 10))
            return seen.jobs > 0 and seen.open_jobs == 0

        self._wait(drained, DRAIN_SECONDS, "the last jobs ended", every=0.5)

    def _settle(self) -> None:
        """Wait for the spans that the stopped processes sent last."""
        before = -1
        for _ in range(20):
            seen = int(self.store.named("spans_stored").rows[0][0])
            if seen == before:
                return
            before = seen
            time.sleep(0.2)

    def _report(self, step: str, share: float) -> Progress:
        row = self.store.named("progress", seconds=self.age_seconds).dicts()[0]
        progress = Progress(step, share, int(row["jobs"]), int(row["open_jobs"]), int(row["failed"]))
        self._tell(progress)
        return progress

    @property
    def age_seconds(self) -> int:
        """Whole seconds since the demo began, rounded up: the `seconds` of the named queries."""
        return int(time.time() - self.began_at) + 1

    def _wait(self, done: Callable[[], bool], seconds: float, what: str, every: float = _POLL_SECONDS) -> None:
        until = time.monotonic() + seconds
        while not done():
            self.processes.check()
            if time.monotonic() > until:
                problem = ServerError(f"the demo waited {seconds:g} s in vain until {what}; the ends of the logs:")
                for name in self.processes.pids():
                    problem.lines += (f"{name}:", *self.processes.tail(name, 8))
                raise problem
            time.sleep(every)


def _celery(command: str, *options: str) -> list[str]:
    return ["-m", "celery", "-A", "otjobs.backend.demo.shop", command, *options]


@contextlib.contextmanager
def running(
    *, data: Path | None = None, broker: str = "", tell: Callable[[Progress], None] = lambda _: None
) -> Iterator[Demo]:
    """Start the embedded server and yield a demo on it; everything is ended when the block is left.

    Args:
        data: where the spans are kept; a temporary folder by default, which is removed at the end.
        broker: `redis://host:port/db`; a folder serves by default.
        tell: called with the progress.

    Raises:
        ConfigurationError: the broker's address is none the demo knows.
        MissingExtraError: Celery, chDB or what Redis needs is not installed.
        OtjobsError: the embedded server did not start.
    """
    _require(broker)
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="otjobs-demo-", ignore_cleanup_errors=True))
        )
        tell(Progress("server starts", 0.0))
        server = Server(data or folder / "data")
        stack.callback(server.kill)  # also where the start is interrupted
        endpoints = stack.enter_context(server).endpoints
        store = connect(endpoints.url)
        stack.callback(store.close)
        demo = Demo(folder, endpoints, store, broker, tell)
        if broker:
            stack.callback(_sweep, broker, folder.name)
        stack.enter_context(demo.processes)
        yield demo


def _require(broker: str) -> None:
    if broker and not broker.startswith(("redis://", "rediss://")):
        raise ConfigurationError(f"{broker!r} is no broker of the demo; it takes redis://host:port/db")
    for name in ("celery", "chdb", *(["redis"] if broker else [])):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(name, "demo")


def _sweep(broker: str, prefix: str) -> None:
    """Remove what the demo left in Redis: its queues, bindings and results."""
    import redis

    with redis.Redis.from_url(broker) as client:
        for key in client.scan_iter(match=f"{prefix}*", count=1000):
            client.delete(key)


def report(demo: Demo) -> dict[str, Any]:
    """Return what the demo saw: rows of the named queries, and the id of the `slowest` workflow of several jobs."""
    since = demo.age_seconds
    named = demo.store.named
    found = {name: named(name, seconds=since).dicts() for name in ("queues", "types", "failures")}
    found["dead_letters"] = named("dead_letters", seconds=since, limit=5).dicts()
    slowest = named("slowest_workflows", seconds=since, limit=1, least_jobs=2).dicts()
    total = named("progress", seconds=since).dicts()[0]
    return {"total": total, **found, "slowest": slowest[0]["workflow_id"] if slowest else ""}
