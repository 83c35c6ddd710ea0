"""Batches: one run that handles many messages, as celery-batches does. Each message is the job of its own."""

from __future__ import annotations

from typing import Any, Final

MOST: Final = 10_000
"""A larger batch is traced as far as this."""


def messages(request: Any, args: Any) -> list[Any]:
    """Return the messages that a run handles, none where the run's own request is the message.

    A batch has a request without an id, and the requests of its messages as the first argument of the task.
    """
    if getattr(request, "id", None) is not None or not isinstance(args, (list, tuple)) or not args:
        return []
    found = args[0] if isinstance(args[0], (list, tuple)) else args
    return [one for one in found[:MOST] if _is_message(one)]


def _is_message(one: Any) -> bool:
    return (
        isinstance(getattr(one, "id", None), str)
        and isinstance(getattr(one, "name", None), str)
        and isinstance(getattr(one, "request_dict", None), dict)
    )
