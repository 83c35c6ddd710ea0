"""What runs where forked multiprocessing children end: their inherited atexit handlers do not (Python 3.11 to 3.13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wrapt import register_post_import_hook

if TYPE_CHECKING:
    from collections.abc import Callable


class _Anchor:
    """Something for multiprocessing to register on; what is registered lives as long as its anchor."""


_anchors: dict[str, _Anchor] = {}
_awaited: set[str] = set()
"""Modules whose import calls `_watch`; such a call cannot be taken back."""
_at_end: Callable[[], None] | None = None


def prepare(at_end: Callable[[], None]) -> None:
    """Call `at_end` where forked multiprocessing children end; Celery's billiard is a multiprocessing of its own."""
    global _at_end  # noqa: PLW0603
    _at_end = at_end
    for name in ("multiprocessing.util", "billiard.util"):
        if name not in _anchors and name not in _awaited:
            _awaited.add(name)
            register_post_import_hook(_watch, name)


def forget() -> None:
    """Take back what `prepare` did: children that are forked from now on, or end from now on, call nothing."""
    global _at_end  # noqa: PLW0603
    _at_end = None
    _anchors.clear()


def _watch(util: Any) -> None:
    name: str = util.__name__
    _awaited.discard(name)
    if _at_end is not None:
        _anchors[name] = _Anchor()
        util.register_after_fork(_anchors[name], _finalizer(util))


def _finalizer(util: Any) -> Callable[[object], None]:
    def in_child(_: object) -> None:
        util.Finalize(None, _call_at_end, exitpriority=100)

    return in_child


def _call_at_end() -> None:
    if _at_end is not None:
        _at_end()
