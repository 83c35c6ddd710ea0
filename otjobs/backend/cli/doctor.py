"""`otjobs doctor`: is everything between a service and its figures in place?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from otjobs.backend.cli import endpoint, sdk_path
from otjobs.backend.cli.format import duration
from otjobs.backend.cli.frame import json_option, opened, url_option
from otjobs.backend.cli.screen import Column, Screen, say_document
from otjobs.backend.store.cluster import shards
from otjobs.backend.store.lease import LEASE_SECONDS, holder
from otjobs.backend.store.migrate import applied, migrations
from otjobs.backend.store.rebuild_plan import TABLES, Run, unfinished
from otjobs.backend.store.shadows import leftovers
from otjobs.errors import OtjobsError, RightsError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otjobs.backend.store import Store

_COLUMNS = (Column("check", "CHECK"), Column("verdict", "RESULT"), Column("found", "FOUND"), Column("next", "NEXT"))
_STALE_SECONDS = 600


@click.command()
@json_option
@url_option
def doctor(as_json: bool) -> None:
    """Check the way from a service to its figures.

    Looks at the database, its schema, whether it takes rows, the spans in it and how old the newest is, a rebuild that
    was interrupted, which way the OpenTelemetry SDK of this environment makes job spans, and whether the OTLP endpoint
    that a service started from this shell would use takes spans. Exit status 1 if something is broken.

    Example:
      otjobs doctor --url http://127.0.0.1:8123/otjobs
    """
    rows = [_row(*check) for check in (*_database(), ("sdk", *sdk_path.check()), ("endpoint", *endpoint.check()))]
    if as_json:
        say_document(rows)
    else:
        Screen().table(_COLUMNS, rows)
    if any(row["verdict"] == "broken" for row in rows):
        click.get_current_context().exit(1)


def _row(check: str, verdict: str, found: str, what_next: str = "") -> dict[str, Any]:
    return {"check": check, "verdict": verdict, "found": found, "next": what_next}


def _database() -> Iterator[tuple[str, ...]]:
    try:
        with opened(needs_schema=False) as store:
            yield "database", "ok", store.url
            yield from _schema(store)
    except OtjobsError as error:
        yield "database", "broken", str(error), "otjobs up, or set OTJOBS_URL"


def _inserts(store: Store) -> tuple[str, ...]:
    """Tell whether the database takes rows: it writes one into its settings that nobody reads."""
    try:
        store.run("store", "probe_insert")
    except RightsError:
        found = "not tried: this account may not insert, so nothing is known of the collector's"
        return "inserts", "check", found, "otjobs doctor --url with the account that migrates"
    except StoreError as error:
        return "inserts", "broken", str(error), "free disk space, or whatever the message names; spans wait meanwhile"
    return "inserts", "ok", "a row was taken"


def _schema(store: Store) -> Iterator[tuple[str, ...]]:
    have, known = max(applied(store), default=0), migrations()[-1][0]
    if have < known:
        yield "schema", "broken", f"version {have}, this otjobs knows {known}", "otjobs migrate"
    elif have > known:
        yield "schema", "broken", f"version {have}, this otjobs knows {known}", "pip install --upgrade otjobs"
    else:
        yield "schema", "ok", f"version {have}"
    if store.has_table("otel_traces"):
        if not store.has_table("otjobs_settings"):  # it is there, and not for this account
            yield _inserts(store)
        yield from _spans(store)
    if store.has_table("otjobs_settings"):
        with shards(store) as databases:
            for database in databases:
                yield _inserts(database)
                yield from _rebuilding(database)


def _spans(store: Store) -> Iterator[tuple[str, ...]]:
    row = store.named("spans_stored").dicts()[0]
    if not row["spans"]:
        yield "spans", "none yet", "no span is stored", "start a service: opentelemetry-instrument celery -A app worker"
        return
    age = duration(row["newest_age_seconds"])
    stale = row["newest_age_seconds"] > _STALE_SECONDS
    hint = "nothing arrives: is the service running and its endpoint right?" if stale else ""
    yield "spans", "stale" if stale else "ok", f"{row['spans']} stored, the newest {age} old", hint
    if store.has_table("jobs") and not store.named("progress", seconds=604_800).dicts()[0]["jobs"]:
        yield "jobs", "none yet", "spans arrive, but none of a job", "is the otjobs instrumentor on in the worker?"


def _rebuilding(store: Store) -> Iterator[tuple[str, ...]]:
    """Tell of a rebuild that goes on, or was interrupted; until it is finished, inserts fill its tables, too."""
    run, left, by = unfinished(store), leftovers(store), holder(store)
    days = f"of {run.days[0]} to {run.days[-1]}" if run and run.days else ""
    if by and by[1] < LEASE_SECONDS:
        yield "rebuild", "running", f"by {by[0]} {days}, last heard of {by[1]:.0f} s ago", ""
    elif run:
        yield "rebuild", "interrupted", f"{days or 'it'} is not finished, and costs inserts some time", _to_finish(run)
    elif left:
        yield "rebuild", "left over", f"nobody needs {', '.join(left)}", "otjobs rebuild --abandon"


def _to_finish(run: Run) -> str:
    days = f" --from {run.days[0]} --to {run.days[-1]}" if run.days else ""
    tables = "".join(f" --table {table}" for table in run.tables) if run.tables != list(TABLES) else ""
    return f"otjobs rebuild{days}{tables}"


COMMANDS = (doctor,)
