"""OpenTelemetry tracing for Python job queues.

Zero-code: `opentelemetry-instrument celery -A app worker`. Home-made queues: `dispatching` and `executing`.

A name is loaded when it is first used. So `import otjobs`, and with it every command, loads neither OpenTelemetry nor
anything else that it does not use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from otjobs._version import __version__

if TYPE_CHECKING:
    from otjobs.api import dispatching, ended, executing
    from otjobs.composites import composite
    from otjobs.dispatch import Dispatch
    from otjobs.errors import OtjobsError
    from otjobs.execution import Execution, current_execution
    from otjobs.job_labels import labels
    from otjobs.sdk.lifecycle import flush
    from otjobs.triggers import trigger

__all__ = [  # noqa: RUF022  (grouped by use)
    # Tracing a queue
    "dispatching",
    "Dispatch",
    "executing",
    "Execution",
    "ended",
    "composite",
    # What jobs carry
    "labels",
    "trigger",
    "current_execution",
    # The process
    "flush",
    "OtjobsError",
    "__version__",
]

_MODULES: Final = {
    "dispatching": "otjobs.api",
    "Dispatch": "otjobs.dispatch",
    "executing": "otjobs.api",
    "Execution": "otjobs.execution",
    "ended": "otjobs.api",
    "composite": "otjobs.composites",
    "labels": "otjobs.job_labels",
    "trigger": "otjobs.triggers",
    "current_execution": "otjobs.execution",
    "flush": "otjobs.sdk.lifecycle",
    "OtjobsError": "otjobs.errors",
}
"""Where each name is, for the interpreter; type checkers read the imports above, and know no others."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load a public name when it is first used."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return found

    def __dir__() -> list[str]:
        """Return the public names, loaded or not, and what is loaded."""
        return sorted({*globals(), *__all__})
