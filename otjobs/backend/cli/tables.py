"""`otjobs queues`, `types`, `jobs`, `workflows`: tables of the last while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from otjobs.backend.cli.format import seconds_of
from otjobs.backend.cli.frame import json_option, opened, url_option
from otjobs.backend.cli.screen import Column, Screen, say, say_document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STATES: Final = (
    *("scheduled", "waiting", "running", "succeeded", "failed"),
    *("retrying", "expired", "cancelled", "rejected", "lost", "unpaired"),
)

QUEUES: Final = (
    Column("queue", "QUEUE"),
    Column("system", "SYSTEM", spare=True),
    Column("waiting", "WAITING", "count"),
    Column("overtaken", "OVERTAKEN", "count"),
    Column("running", "RUNNING", "count"),
    Column("jobs", "JOBS", "count"),
    Column("starts", "STARTS", "count", spare=True),
    Column("failed", "FAILED", "count"),
    Column("queue_p50_seconds", "WAIT-P50", "seconds"),
    Column("queue_p95_seconds", "WAIT-P95", "seconds"),
)
TYPES: Final = (
    Column("job_type", "TYPE"),
    Column("system", "SYSTEM", spare=True),
    Column("attempts", "STARTS", "count"),
    Column("succeeded", "SUCCEEDED", "count", spare=True),
    Column("retried", "RETRIED", "count"),
    Column("failed", "FAILED", "count"),
    Column("run_p50_seconds", "RUN-P50", "seconds"),
    Column("run_p95_seconds", "RUN-P95", "seconds"),
    Column("total_run_seconds", "RUN-TOTAL", "seconds"),
)
JOBS: Final = (
    Column("enqueued_at", "ENQUEUED", "time"),
    Column("job_type", "TYPE"),
    Column("queue", "QUEUE"),
    Column("state", "STATE", "state"),
    Column("attempts", "ATTEMPTS", "count"),
    Column("delay_seconds", "DELAY", "seconds", spare=True),
    Column("queue_seconds", "WAIT", "seconds"),
    Column("run_seconds", "RUN", "seconds"),
    Column("error_type", "ERROR"),
    Column("job_id", "ID", "id"),
)
WORKFLOWS: Final = (
    Column("started_at", "STARTED", "time"),
    Column("workflow_type", "TYPE"),
    Column("trigger", "TRIGGER"),
    Column("trigger_name", "TRIGGERED-BY", spare=True),
    Column("complete", "COMPLETE", "flag"),
    Column("jobs", "JOBS", "count"),
    Column("open_jobs", "OPEN", "count", spare=True),
    Column("failed_jobs", "FAILED", "count"),
    Column("wall_seconds", "WALL", "seconds"),
    Column("queue_seconds", "WAIT-TOTAL", "seconds", spare=True),
    Column("run_seconds", "RUN-TOTAL", "seconds", spare=True),
    Column("workflow_id", "ID", "id"),
)


class Age(click.ParamType[Any]):
    """A stretch of time: 90s, 15m, 2h, 1d, 1w; a bare number is seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return it as whole seconds."""
        if isinstance(value, int):
            return value
        try:
            return seconds_of(value)
        except ValueError:
            self.fail(f"{value!r} is no stretch of time; write 90s, 15m, 2h, 1d or 1w", param, ctx)


def age_option(default: str, text: str) -> Callable[..., Any]:
    """Return the option `--since` with its help."""
    return click.option("--since", "seconds", type=Age(), default=default, show_default=True, metavar="AGE", help=text)


since_option = age_option("1d", "How far back: 15m, 2h, 1d, 1w.")


def limit_option(default: int) -> Callable[..., Any]:
    """Return the option `--limit`."""
    return click.option(
        "--limit", type=click.IntRange(1, 1_000_000), default=default, show_default=True, help="Most rows to show."
    )


def show(query: str, columns: Sequence[Column], as_json: bool, nothing: str, **params: Any) -> None:
    """Run a named query and print its rows."""
    with opened() as store:
        rows = store.named(query, **params).dicts()
    if as_json:
        say_document(rows)
    elif rows:
        Screen().table(columns, rows)
        if len(rows) == params.get("limit"):
            say(f"the first {len(rows)}; --limit shows more", err=True)
    else:
        say(nothing, err=True)


@click.command()
@since_option
@json_option
@url_option
def queues(seconds: int, as_json: bool) -> None:
    """Show each queue: who waits now, and how long jobs waited.

    WAITING and RUNNING are of now, whatever the age of the jobs. A retry waits once it is due, not in its backoff.
    OVERTAKEN of those that wait are ready for an hour in which their queue started only jobs that were ready later:
    starved, gone from the broker, or run by a worker that died before it could tell.

    The rest is of the jobs of the last while. WAIT is time that nobody asked for: from the moment a job may run to its
    start. Countdowns, ETAs and backoffs are delay, not wait. FAILED counts failed, lost, expired and rejected jobs.

    Example:
      otjobs queues --since 15m
      otjobs queues --json | jq '.[] | select(.waiting > 100)'
    """
    show("queues", QUEUES, as_json, "no jobs in that time", seconds=seconds)


@click.command()
@since_option
@json_option
@url_option
def types(seconds: int, as_json: bool) -> None:
    """Show each job type: starts, retries, failures, runtimes.

    The type that takes most time comes first.

    Example:
      otjobs types --since 1h
    """
    show("types", TYPES, as_json, "no attempts in that time", seconds=seconds)


@click.command()
@click.option("--queue", default="", help="Only this queue.")
@click.option("--type", "job_type", default="", help="Only this job type.")
@click.option(
    "--state",
    type=click.Choice(STATES),
    metavar="STATE",
    default=None,
    help=f"Only jobs in this state: {', '.join(STATES[:-1])} or {STATES[-1]}.",
)
@click.option("--error", "error_type", default="", help="Only jobs whose last attempt ended with this error.")
@click.option(
    "--sort",
    type=click.Choice(("newest", "runtime", "wait")),
    default="newest",
    show_default=True,
    help="Newest, longest running or longest waiting first.",
)
@since_option
@limit_option(50)
@json_option
@url_option
def jobs(as_json: bool, state: str | None, **params: Any) -> None:
    """Show jobs, one a line.

    Example:
      otjobs jobs --state failed --since 2h
      otjobs jobs --type shop.charge --sort runtime --limit 10
    """
    show("jobs", JOBS, as_json, "no such jobs in that time", state=state or "", **params)


@click.command()
@click.option("--type", "workflow_type", default="", help="Only workflows whose root job has this type.")
@click.option(
    "--only",
    type=click.Choice(("open", "complete", "failed")),
    default=None,
    help="Only open, complete or failed ones.",
)
@click.option(
    "--sort",
    type=click.Choice(("newest", "slowest")),
    default="newest",
    show_default=True,
    help="Newest or slowest first.",
)
@since_option
@limit_option(50)
@json_option
@url_option
def workflows(as_json: bool, only: str | None, **params: Any) -> None:
    """Show workflows, one a line.

    A workflow is a root job with all that it set off. WALL is from the first dispatch to the last end, known once
    the workflow is complete.

    Example:
      otjobs workflows --sort slowest --since 1h
      otjobs workflows --only failed
    """
    show("workflows", WORKFLOWS, as_json, "no such workflows in that time", only=only or "", **params)


COMMANDS = (queues, types, jobs, workflows)
