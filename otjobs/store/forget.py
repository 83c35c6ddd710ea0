"""`otjobs forget`: every job with a label, and its spans, deleted everywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otjobs.errors import ConfigurationError
from otjobs.store.derive import derive
from otjobs.store.text import fill, split, statement

if TYPE_CHECKING:
    from otjobs.store.client import Store

_LABEL: Final = re.compile(r"[\w.\-]{1,200}")
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
        dry: count, and delete nothing.

    Raises:
        ConfigurationError: that is no label's name.
        QueryError: the account lacks a right.
    """
    if not _LABEL.fullmatch(label):
        raise ConfigurationError(f"{label!r} is no name of a label; write --label customer=42")
    params = {"label": label, "value": value}
    for sql in split(_sql(store, "begin")):
        store.command(sql)
    store.command(_sql(store, "collect_jobs"), params)
    store.command(_sql(store, "collect_workflows"))
    quoted = {"label": label, "value": value.replace("\\", "\\\\").replace("'", "\\'")}
    found = Forgotten(*map(int, store.query(_sql(store, "counts", **quoted)).rows[0]))
    if dry:
        for sql in split(_sql(store, "erase", **quoted))[-2:]:
            store.command(sql)
        return found
    store.command(_sql(store, "freeze_workflows"))
    settled = _sql(store, "settled_minutes")
    source = ("attempt_states", "forget_attempt_states")
    derive(store, "minute_marks_mv", source=source, replace=_FROZEN, where=settled)
    for sql in split(_sql(store, "erase", **quoted)):
        store.command(sql)
    return found


def _sql(store: Store, name: str, **names: str) -> str:
    return fill(statement("forget", name), database=store.database, **names)
