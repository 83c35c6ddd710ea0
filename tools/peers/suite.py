"""What the suite of a library is."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def _nothing(_: Path) -> AbstractContextManager[dict[str, str]]:
    return nullcontext({})


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Tests of a library, from the source distribution of the version that is installed."""

    name: str
    distribution: str
    instrumentor: str
    """`module:Class` of ours."""
    needed: tuple[str, ...]
    """What the tests import beside our own development tools, with versions."""
    tests: tuple[str, ...]
    """Folders and files of the source, all of them."""
    part: tuple[str, ...]
    """The folders and files that CI has time for."""
    options: tuple[str, ...] = ()
    """Options for pytest."""
    environment: Mapping[str, str] = field(default_factory=dict)
    services: Callable[[Path], AbstractContextManager[dict[str, str]]] = _nothing
    """Start what the tests of one run need, with its files in a folder, and give environment variables."""
    alone: bool = False
    """Run plain and instrumented one after the other: both need the same port."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why a test may pass plain and fail instrumented, by the test's id in the source."""
