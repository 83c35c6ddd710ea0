"""`otjobs demo`: the demo with its progress and its report."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from otjobs.backend.cli import pictures, tables
from otjobs.backend.cli.details import workflow_document
from otjobs.backend.cli.screen import Column, Screen, say, say_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otjobs.backend.demo.demo import Demo, Progress

_LINE_SECONDS: Final = 2.0
_FAILURES: Final = (
    Column("job_type", "TYPE"),
    Column("queue", "QUEUE"),
    Column("state", "STATE", "state"),
    Column("error_type", "ERROR"),
    Column("jobs", "JOBS", "count"),
    Column("dead_letters", "DEAD-LETTERS", "count"),
    Column("example_job_id", "EXAMPLE", "id"),
)
_DEAD_LETTERS: Final = (
    Column("job_type", "TYPE"),
    Column("error_type", "ERROR"),
    Column("attempts", "ATTEMPTS", "count"),
    Column("ended_at", "ENDED", "time"),
    Column("job_id", "ID", "id"),
)


_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


def _interrupt(*_: Any) -> None:
    """Begin the end; a second signal does not interrupt it, or processes would be left behind."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(3, 3600),
    default=20,
    show_default=True,
    help="How long customers place orders; starting and ending take some seconds more.",
)
@click.option("--broker", default="", metavar="URL", help="redis://host:port/db instead of a folder as the broker.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    metavar="DIR",
    help="Keep the spans there, for `otjobs up --data DIR`; a temporary folder by default.",
)
@click.option("--keep", is_flag=True, help="Leave everything running after the report, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
def demo(seconds: float, broker: str, data: Path | None, keep: bool, as_json: bool) -> None:
    """Run a real Celery shop, traced, and show what otjobs saw.

    Starts the embedded server, two Celery workers under `opentelemetry-instrument`, Celery beat, and customers who
    place orders; needs nothing but Python. The shop retries, fails, waits, schedules and loses a job on purpose.

    Example:
      otjobs demo
      otjobs demo --keep
      otjobs demo --seconds 60 --data ./otjobs-data
    """
    from otjobs.backend.demo.demo import report, running

    before = {number: signal.signal(number, _interrupt) for number in _STOPPING}
    try:
        with _progress(quiet=as_json) as tell, running(data=data, broker=broker, tell=tell) as shop:
            shop.run(seconds, keep=keep)
            tell(None)
            found = _whole(shop, report(shop))
            if as_json:
                say_document(found)
            else:
                _draw(Screen(), shop, found, keep=keep, data=data)
            while keep:
                shop.processes.check()
                time.sleep(0.5)
    except KeyboardInterrupt:
        say("otjobs: stopped; everything that the demo started has ended", err=True)
        if not keep:
            click.get_current_context().exit(130)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _whole(shop: Demo, found: dict[str, Any]) -> dict[str, Any]:
    slowest = found.pop("slowest")
    whole = workflow_document(shop.store, slowest, limit=200) if slowest else None
    return {"url": shop.endpoints.url, **found, "slowest_workflow": whole}


def _draw(screen: Screen, shop: Demo, found: dict[str, Any], *, keep: bool, data: Path | None) -> None:
    total = found["total"]
    screen.title(
        f"{total['jobs']} jobs seen in {shop.age_seconds}s: {total['succeeded']} succeeded, {total['failed']} failed, "
        f"{total['retried']} retried, {total['dead_letters']} dead letters, {total['open_jobs']} open"
    )
    screen.title("Queues: how long jobs waited for a worker (delays that were asked for are no wait)")
    screen.table(tables.QUEUES, found["queues"])
    screen.title("Job types: how long they ran")
    screen.table(tables.TYPES, found["types"])
    screen.title("Failures")
    screen.table(_FAILURES, found["failures"])
    screen.title("The newest dead letters: failed for good and set aside")
    screen.table(_DEAD_LETTERS, found["dead_letters"])
    whole = found["slowest_workflow"]
    if whole is not None:
        screen.title("The slowest complete workflow of several jobs")
        pictures.workflow(screen, whole["workflow"], whole["jobs"], whole["attempts"])
    screen.title("What to type next")
    for text in _next_steps(shop, found, keep=keep, data=data):
        screen.line(text)


def _next_steps(shop: Demo, found: dict[str, Any], *, keep: bool, data: Path | None) -> Iterator[str]:
    if not keep and data is None:
        yield "otjobs demo --keep                   # the same, and it goes on while you look around"
        yield "otjobs up                            # a place for the spans of your own service"
        return
    if keep:
        yield f"export OTJOBS_URL={shop.endpoints.url}"
    else:
        yield f"otjobs up --data {data}  # in another terminal, then:"
    yield "otjobs jobs --state failed"
    if found["failures"]:
        yield f"otjobs job {found['failures'][0]['example_job_id']}"
    yield "otjobs workflows --sort slowest"
    yield "otjobs sql --list"
    if keep:
        yield f"The demo goes on until Ctrl-C; the logs of its processes are in {shop.folder}."


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Progress | None], None]]:
    """Yield what is told how far the demo is (None: it is over): a bar on a terminal, a line now and then in a pipe."""
    screen = Screen()
    if quiet:
        yield lambda _: None
    elif screen.terminal:
        columns = (
            TextColumn("{task.description:18}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[seen]}"),
        )
        with Bar(*columns, console=screen.console, transient=True) as bar:
            task = bar.add_task("", total=1.0, seen="")

            def draw(progress: Progress | None) -> None:
                if progress is None:
                    bar.stop()
                else:
                    bar.update(task, completed=progress.share, description=progress.step, seen=_seen(progress))

            yield draw
    else:
        last = ("", 0.0)

        def write(progress: Progress | None) -> None:
            nonlocal last
            now = time.monotonic()
            if progress is None or (progress.step == last[0] and now - last[1] < _LINE_SECONDS):
                return
            last = progress.step, now
            screen.line("  ".join(part for part in (progress.step, _seen(progress)) if part))

        yield write


def _seen(progress: Progress) -> str:
    if not progress.jobs:
        return ""
    return f"{progress.jobs} jobs, {progress.open_jobs} open, {progress.failed} failed"


COMMANDS = (demo,)
