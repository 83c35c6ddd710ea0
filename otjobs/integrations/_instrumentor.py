"""The base of every library's instrumentor: what a library's file says of itself in tables, made true here."""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from otjobs import tracing
from otjobs.errors import MissingExtraError
from otjobs.faults import guard
from otjobs.integrations.late import Change, Late

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.trace import TracerProvider

    from otjobs.integrations.stock import Stock

_log = logging.getLogger("otjobs")


class Instrumentor(BaseInstrumentor):
    """Changes a library when the application imports it, and takes the changes back; it never imports the library."""

    library: ClassVar[str]
    """The package that the application imports."""
    extra: ClassVar[str]
    """The extra of otjobs that installs it."""
    versions: ClassVar[tuple[str, ...]]
    """The versions that this works with, as requirements."""
    changes: ClassVar[Mapping[str, Sequence[Change]]]
    """Module -> what is wrapped in it (`late.wrap`), and which of its signals are received (`late.connect`)."""
    stock: ClassVar[Stock | None] = None
    """The instrumentation of the same library that steps back."""

    _late: ClassVar[Late]
    _given: TracerProvider | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.stock is not None:
            cls.changes = {cls.stock.module: (cls.stock.step_back,), **cls.changes}
        cls._late = Late(cls.changes)

    def instrumentation_dependencies(self) -> tuple[str, ...]:
        """Return the versions this works with."""
        return self.versions

    def instrument(self, **kwargs: Any) -> Any:
        """Trace the library from now on.

        Args:
            kwargs: `tracer_provider`, where the spans go; the global one by default.
        """
        by_hand = not (kwargs.get("skip_dep_check") or kwargs.get("raise_exception_on_conflict"))
        if by_hand and self.library not in sys.modules and find_spec(self.library) is None:
            _log.error("%s: %s", type(self).__name__, MissingExtraError(self.library, self.extra))
            return None
        return super().instrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        self._given = kwargs.get("tracer_provider")
        if self._given is not None:
            tracing.use_tracer_provider(self._given)
        tracing.hold(type(self).__name__)
        self._late.apply()
        with guard("the tracer could not be made ahead of the first job"):
            tracing.tracer()  # so that the first request's spans are followed, too

    def _uninstrument(self, **_: Any) -> None:
        self._late.undo()
        if self._given is not None and tracing.provider() is self._given:
            tracing.use_tracer_provider(None)
        self._given = None
        tracing.release(type(self).__name__)
        if self.stock is not None:
            with guard("another instrumentation of the library could not be restored"):
                self.stock.let_in()
