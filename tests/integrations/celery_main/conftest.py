"""A yard per test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from celery_main_harness import Yard
from otlp_receiver import Receiver


@pytest.fixture(scope="session")
def collector():
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def yard(tmp_path, collector, redis_url):
    found = Yard(tmp_path, collector, redis_url)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def module_yard(tmp_path_factory, collector, redis_url):
    """One yard for the tests of a module, so that they share workers."""
    found = Yard(tmp_path_factory.mktemp("yard"), collector, redis_url)
    yield found
    found.stop()
