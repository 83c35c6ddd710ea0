"""The settings of a traced process, read once from `OTEL_PYTHON_OTJOBS_*`.

A value that cannot be used is answered with a warning that names the variable, and the default is taken.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from otjobs import environment_variables as env
from otjobs.faults import warn

_BATCH_DELAY = "OTEL_BSP_SCHEDULE_DELAY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this process traces its jobs; see `otjobs.environment_variables` for each one's meaning and unit."""

    link_mode: bool = False
    beacon_after: float = 1.0
    beacon_interval: float = 30.0
    exceptions: str = "type"
    baggage_labels: tuple[str, ...] = ()
    excluded_types: tuple[str, ...] = ()
    flush_seconds: float = 5.0
    send_seconds: float = 1.0
    send_seconds_given: bool = False
    fast: str = "auto"
    _excluded: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)

    def excludes(self, job_type: str) -> bool:
        """Tell whether jobs of this type are left untraced."""
        if not self.excluded_types:
            return False
        known = self._excluded.get(job_type)
        if known is None:
            known = self._excluded[job_type] = any(fnmatchcase(job_type, p) for p in self.excluded_types)
        return known


def _seconds(name: str, default: float, least: float) -> float:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value < 1e9:
        warn(f"{name}={text!r} is not a number of seconds >= {least:g}; using {default:g}")
        return default
    return value


def _choice(name: str, choices: tuple[str, ...]) -> str:
    text = os.environ.get(name, "").strip().lower()
    if text and text not in choices:
        warn(f"{name}={text!r} is none of {', '.join(choices)}; using {choices[0]}")
    return text if text in choices else choices[0]


def _names(name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in os.environ.get(name, "").split(",") if part.strip())


def from_environment() -> Settings:
    """Read the settings from the environment now."""
    return Settings(
        link_mode=_choice(env.OTEL_PYTHON_OTJOBS_PROPAGATION, ("parent", "link")) == "link",
        beacon_after=_seconds(env.OTEL_PYTHON_OTJOBS_BEACON_AFTER, 1.0, 0.0),
        beacon_interval=_seconds(env.OTEL_PYTHON_OTJOBS_BEACON_INTERVAL, 30.0, 0.01),
        exceptions=_choice(env.OTEL_PYTHON_OTJOBS_EXCEPTIONS, ("type", "message", "stack")),
        baggage_labels=_names(env.OTEL_PYTHON_OTJOBS_BAGGAGE_LABELS),
        excluded_types=_names(env.OTEL_PYTHON_OTJOBS_EXCLUDED_TYPES),
        flush_seconds=_seconds(env.OTEL_PYTHON_OTJOBS_FLUSH_SECONDS, 5.0, 0.0),
        # OpenTelemetry's own variable for the same wins, where only that is set.
        send_seconds=_seconds(env.OTEL_PYTHON_OTJOBS_SEND_SECONDS, 0.0 if os.environ.get(_BATCH_DELAY) else 1.0, 0.0),
        fast=_choice(env.OTEL_PYTHON_OTJOBS_FAST, ("auto", "off")),
        send_seconds_given=bool(os.environ.get(env.OTEL_PYTHON_OTJOBS_SEND_SECONDS, "").strip()),
    )


@functools.cache
def settings() -> Settings:
    """Return this process's settings (read at the first call; `settings.cache_clear()` reads them again)."""
    return from_environment()
