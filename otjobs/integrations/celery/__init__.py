"""Celery: `opentelemetry-instrument celery -A app worker`, or `CeleryInstrumentor().instrument()`."""

from __future__ import annotations

from otjobs.integrations.celery.instrumentor import CeleryInstrumentor

__all__ = ["CeleryInstrumentor"]
