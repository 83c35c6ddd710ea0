"""What otjobs replaces in objects of others, and how it is taken back.

A replacement is taken back only where it is still in place: whoever has wrapped it since keeps what they put there, and
ours stays below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otjobs.faults import guard

if TYPE_CHECKING:
    from collections.abc import Callable

_ABSENT: Final = object()


class Patches:
    """Replacements that are taken back together, the last one first."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []

    def replace(self, owner: Any, name: str, value: object) -> None:
        """Set an attribute of an object or a module."""
        before = getattr(owner, "__dict__", {}).get(name, _ABSENT)
        setattr(owner, name, value)

        def undo() -> None:
            if getattr(owner, name, _ABSENT) is not value:
                return
            if before is _ABSENT:  # a method: the class has it
                delattr(owner, name)
            else:
                setattr(owner, name, before)

        self._undo.append(undo)

    def on_undo(self, undo: Callable[[], object]) -> None:
        """Note how something else is taken back."""
        self._undo.append(undo)

    def undo(self) -> None:
        """Take everything back."""
        while self._undo:
            with guard("a change to the OpenTelemetry SDK could not be taken back"):
                self._undo.pop()()


process: Final = Patches()
"""What is replaced once in a process, whatever provider is in use."""
