"""What must happen before `opentelemetry-instrument` loads the first instrumentor."""

from __future__ import annotations

from typing import Final

from otjobs.faults import guard
from otjobs.integrations.celery.green_pools import patch_early
from otjobs.integrations.stock import Stock

STOCK: Final = Stock("Celery", "opentelemetry.instrumentation.celery", "CeleryInstrumentor", entry_point="celery")


def before_instrumentors() -> None:
    """Prepare green pools, and leave the stock instrumentation out (entry point `opentelemetry_pre_instrument`)."""
    patch_early()
    with guard("the stock Celery instrumentation could not be left out"):
        STOCK.leave_out()
