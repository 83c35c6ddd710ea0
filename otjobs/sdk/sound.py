"""A span's own attributes and texts, made such that every exporter takes them, whatever the SDK's limits are."""

from __future__ import annotations

import os
from typing import Any, Final

from opentelemetry.sdk import environment_variables as env

from otjobs.faults import warn
from otjobs.texts import MAX_TEXT, bounded

MOST_OWN: Final = 64
"""More than a job's span ever has of ours, labels included."""
LEAST: Final = -(2**63)
MOST: Final = 2**63 - 1


def made_sound(attributes: dict[str, Any]) -> dict[str, Any]:
    """Make a span's own attributes such that every exporter takes them, in place."""
    for value in attributes.values():
        kind = type(value)
        if kind is str:
            if not value.isascii() or len(value) > MAX_TEXT:
                break
        elif kind is int and not LEAST <= value <= MOST:
            break
    else:
        return attributes
    for key, value in attributes.items():
        if type(value) is str:
            attributes[key] = bounded(value)
        elif type(value) is int:
            attributes[key] = min(max(value, LEAST), MOST)
    return attributes


def warn_of(limits: Any) -> None:
    """Say which setting does not bind a job's own attributes, where one is so low that it would."""
    for value, least, names in (
        (limits.max_span_attributes, MOST_OWN, (env.OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, env.OTEL_ATTRIBUTE_COUNT_LIMIT)),
        (
            limits.max_span_attribute_length,
            MAX_TEXT,
            (env.OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT, env.OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT),
        ),
    ):
        if value is not None and value < least:
            name = next((name for name in names if os.environ.get(name)), "SpanLimits")
            warn(
                "a limit on attributes does not bind those of job spans, whose figures would be wrong; it binds those "
                "that the application adds",
                f"{name} is {value}",
            )
