"""Another instrumentation of the same library steps back while ours is active, whichever of the two comes first."""

from __future__ import annotations

import importlib
import logging
from typing import Any

_log = logging.getLogger("otjobs")


class Stock:
    """The instrumentor of another distribution; instrumentors are singletons, so there is one of it in a process."""

    def __init__(self, library: str, module: str, name: str, *, entry_point: str) -> None:
        self._module, self._name = module, name
        self._message = (
            f"otjobs traces {library}; {module} steps back, so that no job is traced twice "
            f"(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={entry_point} leaves it out altogether, =otjobs_{entry_point} "
            "leaves otjobs out)"
        )
        self._own: tuple[Any, Any] | None = None
        self._asked: dict[str, Any] = {}

    def step_back(self) -> None:
        """Take the other instrumentation out, and keep it out until `restore`."""
        kind = self._kind()
        if kind is None or self._own is not None:
            return
        self._asked = {}
        if kind().is_instrumented_by_opentelemetry:
            kind()._uninstrument()  # noqa: SLF001
            _log.warning(self._message)
        self._own = kind._instrument, kind._uninstrument  # noqa: SLF001

        def not_now(_: Any, **kwargs: Any) -> None:
            self._asked = kwargs
            _log.warning(self._message)

        kind._instrument, kind._uninstrument = not_now, lambda *_, **__: None  # noqa: SLF001

    def restore(self) -> None:
        """Let the other instrumentation work if it was active, or asked to be, and was not asked to stop since."""
        kind = self._kind()
        if kind is None or self._own is None:
            return
        (kind._instrument, kind._uninstrument), self._own = self._own, None  # noqa: SLF001
        if kind().is_instrumented_by_opentelemetry:
            kind()._instrument(**self._asked)  # noqa: SLF001

    def _kind(self) -> Any:
        try:
            return getattr(importlib.import_module(self._module), self._name)
        except ImportError:
            return None
