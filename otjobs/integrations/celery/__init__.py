"""Celery: `opentelemetry-instrument celery -A app worker`, or `CeleryInstrumentor().instrument()`."""

from __future__ import annotations

from otjobs.integrations.celery.instrumentor import CHANGES, CeleryInstrumentor

__all__ = ["CHANGES", "CeleryInstrumentor"]
