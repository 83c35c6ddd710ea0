"""Fixtures of the conformance suite; one harness per library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery_harness import CeleryHarness
from otlp_receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture(scope="session")
def celery(tmp_path_factory, receiver, redis_url) -> Iterator[CeleryHarness]:
    """Celery on Redis, with one traced producer and one traced worker of each pool, started when first used."""
    found = CeleryHarness(tmp_path_factory.mktemp("celery"), receiver, redis_url)
    yield found
    found.stop()
