"""The project of docker-compose.yml, and a server with its accounts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS.parent))  # `import grafana` is the package at the top of the repository
sys.path.insert(0, str(TESTS / "grafana"))


@pytest.fixture(scope="session")
def project():
    from compose_project import load

    return load()


@pytest.fixture(scope="session")
def services(project):
    return project["services"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from compose_project import clickhouse_with_accounts

    with clickhouse_with_accounts(tmp_path_factory.mktemp("accounts")) as found:
        yield found


@pytest.fixture(scope="module")
def accounts(server):
    """Return a store for each account; the owner has migrated."""
    from compose_project import url

    owner = connect(url(server, "owner"))
    migrate(owner)
    found = {"owner": owner, **{name: connect(url(server, name)) for name in ("writer", "reader")}}
    yield found
    for store in found.values():
        store.close()
