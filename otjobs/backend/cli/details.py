"""`otjobs job ID` and `otjobs workflow ID`: one of them, in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from otjobs.backend.cli import pictures
from otjobs.backend.cli.frame import json_option, opened, url_option
from otjobs.backend.cli.screen import Screen, say_document
from otjobs.backend.cli.tables import age_option, limit_option
from otjobs.errors import QueryError

if TYPE_CHECKING:
    from otjobs.backend.store import Store

_CANDIDATES = 5
_search_option = age_option("1w", "How far back the beginning of an id is looked for.")


class NotFoundError(QueryError):
    """There is no job or workflow of that id."""


@click.command()
@click.argument("job_id", metavar="ID")
@limit_option(50)
@_search_option
@json_option
@url_option
def job(job_id: str, limit: int, seconds: int, as_json: bool) -> None:
    """Show one job: times, attempts, error, parent and children.

    Where a library uses an id twice, all its jobs are shown. The first characters of an id are enough if only one
    job of the last week, or of --since, begins like that.

    Example:
      otjobs job 7bebb718-8cca-4ac2-85cb-6a6d694b4d76
      otjobs job 7bebb718
    """
    with opened() as store:
        found = job_document(store, job_id, limit, seconds)
    if as_json:
        say_document({"jobs": found})
        return
    screen = Screen()
    for number, one in enumerate(found):
        if number:
            screen.line()
        pictures.job(screen, one["job"], one["attempts"], one["children"], one["more_children"])


def job_document(store: Store, job_id: str, limit: int, seconds: int = 0) -> list[dict[str, Any]]:
    """Return all jobs of an id, or of one that begins like it within `seconds`, each with attempts and children.

    Raises:
        NotFoundError: there is none, or more than one begins like that.
    """
    jobs = store.named("job", job_id=job_id).dicts()
    if not jobs:
        job_id = _whole(store, "job", job_id, seconds)
        jobs = store.named("job", job_id=job_id).dicts()
    attempts = store.named("job_attempts", job_id=job_id).dicts()
    found = []
    for row in jobs:
        own = [a for a in attempts if _same(a, row)]
        children = store.named("job_children", job_id=job_id, workflow_id=row["workflow_id"], limit=limit + 1).dicts()
        children = [c for c in children if c["parent_type"] in ("", row["job_type"])]
        more = max(0, int(row["dispatched"]) - limit) if len(children) > limit else 0
        found.append({"job": row, "attempts": own, "children": children[:limit], "more_children": more})
    return found


def _same(attempt: dict[str, Any], job: dict[str, Any]) -> bool:
    return attempt["workflow_id"] == job["workflow_id"] and pictures.identity(attempt) == pictures.identity(job)


@click.command()
@click.argument("workflow_id", metavar="ID")
@limit_option(200)
@_search_option
@json_option
@url_option
def workflow(workflow_id: str, limit: int, seconds: int, as_json: bool) -> None:
    """Show one workflow: its jobs as a tree on one timeline.

    And whether it is complete, how long it took, and what triggered it. The id is the trace id of the root job, 32
    hex digits; its first characters are enough if only one workflow of the last week, or of --since, begins like
    that.

    Example:
      otjobs workflow 5154351ed603a8f7ca60108fcb161a2b
      otjobs workflow 5154351e
    """
    with opened() as store:
        found = workflow_document(store, workflow_id, limit, seconds)
    if as_json:
        say_document(found)
        return
    pictures.workflow(Screen(), found["workflow"], found["jobs"], found["attempts"])


def workflow_document(store: Store, workflow_id: str, limit: int, seconds: int = 0) -> dict[str, Any]:
    """Return a workflow, known by its id or a beginning within `seconds`, with its first `limit` jobs and attempts.

    Raises:
        NotFoundError: there is none, or more than one begins like that.
    """
    rows = store.named("workflow", workflow_id=workflow_id).dicts()
    if not rows:
        workflow_id = _whole(store, "workflow", workflow_id, seconds)
        rows = store.named("workflow", workflow_id=workflow_id).dicts()
    jobs = store.named("workflow_jobs", workflow_id=workflow_id, limit=limit).dicts()
    attempts = store.named("workflow_attempts", workflow_id=workflow_id, limit=limit * 4).dicts()
    return {"workflow": rows[0], "jobs": jobs, "attempts": attempts, "more_jobs": max(0, rows[0]["jobs"] - len(jobs))}


def _whole(store: Store, what: str, beginning: str, seconds: int) -> str:
    """Return the one id that begins like this."""
    found = [
        row[0] for row in store.named(f"{what}_ids", prefix=beginning, seconds=seconds, limit=_CANDIDATES + 1).rows
    ]
    if not found or not beginning:
        raise NotFoundError(
            f"there is no {what} {beginning!r}, and none that begins like that in the time searched (--since); "
            f"list some with: otjobs {what}s"
        )
    if len(found) > 1:
        some = ", ".join(found[:_CANDIDATES]) + (", ..." if len(found) > _CANDIDATES else "")
        raise NotFoundError(f"more than one {what} begins with {beginning!r}: {some}")
    return str(found[0])


COMMANDS = (job, workflow)
