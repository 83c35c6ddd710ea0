"""`otjobs forget`: every job with a label, and its spans, deleted everywhere."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otjobs.backend.store.cluster import cluster_of, first_replicas, shards
from otjobs.backend.store.derive import derive
from otjobs.backend.store.sql_files import literal
from otjobs.errors import ConfigurationError, QueryError

if TYPE_CHECKING:
    from otjobs.backend.store.client import Store

_LABEL: Final = re.compile(r"[\w.\-]{1,200}")
_REFRESH_SECONDS: Final = 600.0
# Minute marks of an hour before all hours: what the minute was made of is not all there any more.
_FROZEN: Final = "toDateTime(3600, 'UTC') AS hour"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was found, and is deleted now; workflows that other jobs share keep their row as it was."""

    jobs: int
    attempts: int
    workflows: int
    shared_workflows: int
    spans: int


def forget(store: Store, label: str, value: str, *, dry: bool = False) -> Forgotten:
    """Delete every job with a label: spans, states, and the rows of workflows that have no other jobs.

    Counts in minutes and in rows of workflows with other jobs, which name nobody, stay as they were and are never
    computed again. What may still change (the last hour, open workflows) is computed from what is left. Called again
    after an interruption, it goes on.

    Args:
        store: the database.
        label: the label's name, without `otjobs.label.`.
        value: the label's value.
        dry: count, and delete nothing more than an interrupted call had begun to.

    Raises:
        ConfigurationError: that is no label's name, or the database is one replica of several.
        QueryError: the account lacks a right, or a view is refreshed for longer than ten minutes.
    """
    if not _LABEL.fullmatch(label):
        raise ConfigurationError(f"{label!r} is no name of a label; write --label customer=42")
    cluster = cluster_of(store)
    replicated = bool(cluster and cluster.replicated)
    # The trace that a job ran in may be on another shard than the job.
    collected = f"{store.database}.forget_attempt_states"
    if cluster and store.database == cluster.database:
        collected = f"cluster('{cluster.name}', {cluster.local}.forget_attempt_states)"
    elif cluster and replicated:
        raise ConfigurationError(
            f"{store.database} is one replica, and what it deletes the others delete, too; give the address of the "
            f"database over all of them, {cluster.database}, in --url"
        )
    quoted = {"label": label, "value": literal(value), "collected": collected}
    with shards(store) as databases:
        # What one replica deletes, the others do, each for itself.
        leaders = first_replicas(databases) if replicated else databases
        for each in databases:
            if replicated:
                each.run("forget", "sync")
            if each.has_table("forget_erasing"):  # an earlier call was interrupted
                _wait_for_refreshes(each)
                each.run("forget", "erase_jobs")
            _collect(each, {"label": label, "value": value})
        counts = [each.query(each.sql("forget", "counts", **quoted)).rows[0] for each in leaders]
        if not dry:
            for each in leaders:
                _erase(each, quoted)
            # A refresh that read before the deletion may write after it.
            for each in databases:
                _wait_for_refreshes(each)
            for each in leaders:
                each.run("forget", "erase_jobs")
        for each in databases:
            each.run("forget", "end")
    return Forgotten(*(sum(map(int, numbers)) for numbers in zip(*counts, strict=True)))


def _collect(store: Store, params: dict[str, str]) -> None:
    store.run("forget", "begin")
    store.command(store.sql("forget", "collect_jobs"), params)
    store.command(store.sql("forget", "collect_workflows"))


def _erase(store: Store, quoted: dict[str, str]) -> None:
    store.command(store.sql("forget", "freeze_workflows"))
    settled = store.part("settled_minutes")
    sources = {"attempt_states": f"{store.database}.forget_attempt_states"}
    derive(store, "minute_marks_mv", sources=sources, replace=_FROZEN, where=settled)
    store.run("forget", "erase_spans", **quoted)
    store.run("forget", "erasing")
    store.run("forget", "erase_jobs")


def _wait_for_refreshes(store: Store) -> None:
    """Wait for the end of all refreshes that are under way."""
    running, parameters = store.sql("forget", "refreshes"), {"database": store.database}
    awaited = set(store.query(running, parameters).rows)
    end = time.monotonic() + _REFRESH_SECONDS
    while awaited.intersection(store.query(running, parameters).rows):
        if time.monotonic() > end:
            raise QueryError("a view is refreshed for very long, and may bring back what was deleted; call this again")
        time.sleep(0.2)
