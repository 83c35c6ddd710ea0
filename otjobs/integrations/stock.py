"""Another instrumentation of the same library steps back while ours is active, whichever of the two comes first."""

from __future__ import annotations

import importlib
import logging
import os
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation import distro
from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_DISABLED_INSTRUMENTATIONS
from wrapt import wrap_function_wrapper

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from otjobs.integrations.late import Undo

_log = logging.getLogger("otjobs")


class Stock:
    """The instrumentor of another distribution; instrumentors are singletons, so there is one of it in a process.

    Args:
        library: the library that both trace.
        module: where the other instrumentor is.
        name: its class.
        entry_point: its name for `opentelemetry-instrument`; ours is `otjobs_{entry_point}`.
    """

    def __init__(self, library: str, module: str, name: str, *, entry_point: str) -> None:
        self.module = module
        self._name, self._entry_point = name, entry_point
        self._message = (
            f"otjobs traces {library}; {module} steps back, so that no job is traced twice "
            f"(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={entry_point} leaves it out altogether, =otjobs_{entry_point} "
            "leaves otjobs out)"
        )
        self._left_out: dict[str, Any] | None = None
        """How `opentelemetry-instrument` would have called it, where it is not even loaded."""

    def leave_out(self) -> None:
        """Let `opentelemetry-instrument` not load the other instrumentation: that would import the library."""
        names = {name.strip() for name in os.environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, "").split(",")}
        if not names.isdisjoint({"*", f"otjobs_{self._entry_point}"}):
            return

        def load(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            entry_point = args[0] if args else kwargs["entry_point"]
            if getattr(entry_point, "module", "") != self.module:
                return wrapped(*args, **kwargs)
            self._left_out = {key: value for key, value in kwargs.items() if key != "entry_point"}
            _log.warning(self._message)
            return None

        wrap_function_wrapper(distro.BaseDistro, "load_instrumentor", load)

    def let_in(self) -> None:
        """Load and start what `leave_out` kept from being loaded."""
        if self._left_out is not None:
            given, self._left_out = self._left_out, None
            getattr(importlib.import_module(self.module), self._name)().instrument(**given)

    def step_back(self, module: ModuleType) -> Undo:
        """Take the other instrumentation out, and keep it out until the returned function is called."""
        kind = getattr(module, self._name)
        asked: dict[str, Any] = {}
        own = kind._instrument, kind._uninstrument  # noqa: SLF001
        if kind().is_instrumented_by_opentelemetry:
            kind()._uninstrument()  # noqa: SLF001
            _log.warning(self._message)

        def not_now(_: Any, **kwargs: Any) -> None:
            asked.update(kwargs)
            _log.warning(self._message)

        def restore() -> None:
            """Let it work if it was active, or asked to be, and was not asked to stop since."""
            kind._instrument, kind._uninstrument = own  # noqa: SLF001
            if kind().is_instrumented_by_opentelemetry:
                kind()._instrument(**asked)  # noqa: SLF001

        kind._instrument, kind._uninstrument = not_now, lambda *_, **__: None  # noqa: SLF001
        return restore
