"""A store per run of this folder, emptied between histories."""

from __future__ import annotations

import itertools
import os
import re
import time
from typing import TYPE_CHECKING

import clickhouses
import pytest
from hypothesis import HealthCheck, settings
from model import World, recompute

from otjobs.backend.store import Store, connect
from otjobs.backend.store.cluster import shards
from otjobs.backend.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deliver import Batches

SEEDS = int(os.environ.get("OTJOBS_EXACTNESS_SEEDS", "28"))
"""How many random histories each test tries."""

settings.register_profile(
    "exactness",
    max_examples=SEEDS,
    deadline=None,
    # Known seeds make a failure repeatable; more of them are tried by OTJOBS_EXACTNESS_SEEDS.
    derandomize="OTJOBS_EXACTNESS_SEEDS" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Bench:
    """A database, and what was delivered into it since it was last emptied."""

    def __init__(self, store: Store, url: str) -> None:
        self.store = store
        self.url = url
        self.spans: list[object] = []

    def empty(self) -> None:
        clickhouses.empty(self.store)
        self.spans = []

    def deliver(self, batches: Batches) -> None:
        for batch in batches:
            self.store.insert_spans([span.row for span in batch])
            self.spans += batch
        self.mend()

    def mend(self) -> None:
        """Let the look at jobs under two keys take place, which the service has every half minute, if there are any."""
        if not self.has_split_jobs():
            return
        clickhouses.mend(self.store)

    def has_split_jobs(self) -> bool:
        """Whether spans of one job say different times, or none in different hours."""
        return any(len(job.keys) > 1 for job in recompute(self.spans, time.time_ns()).jobs)

    def age(self) -> None:
        """Let minutes pass since everything arrived and was last stored, and the stored rows be made."""
        clickhouses.age(self.store)

    def expected(self) -> World:
        """What the model makes of everything delivered so far."""
        return recompute(self.spans, time.time_ns())


class Shards(Bench):
    """A database over the shards of a cluster; batches come in through each host in turn."""

    def __init__(self, stores: list[Store], shards: list[Store]) -> None:
        super().__init__(stores[0], stores[0].url)
        self.stores = stores
        self.shards = shards

    def empty(self) -> None:
        for shard in self.shards:
            clickhouses.empty(shard)
        self.spans = []

    def deliver(self, batches: Batches) -> None:
        for batch, store in zip(batches, itertools.cycle(self.stores)):
            store.insert_spans([span.row for span in batch])
            self.spans += batch
        self.mend()

    def mend(self) -> None:
        for shard in self.shards if self.has_split_jobs() else ():
            clickhouses.mend(shard)

    def age(self) -> None:
        for shard in self.shards:
            clickhouses.age(shard)


@pytest.fixture(scope="module")
def shards_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    with clickhouses.clickhouse_cluster(tmp_path_factory.mktemp("shards")) as servers:
        stores = clickhouses.over_shards(servers, "otjobs")
        with shards(stores[0]) as local:
            yield Shards(stores, local)
        for store in stores:
            store.close()


@pytest.fixture(scope="module")  # chDB opens one folder a process: the next module has its own
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    url = f"chdb://{tmp_path_factory.mktemp('exactness')}"
    store = connect(url)
    migrate(store)
    yield Bench(store, url)
    store.close()


@pytest.fixture
def aging_bench(clickhouse, request) -> Iterator[Bench]:
    """A new database on the real server, whose stored rows are made as in service."""
    name = re.sub(r"\W", "_", f"otjobs_{request.node.name}")[:60]
    url = f"http://default:@127.0.0.1:{clickhouse.http_port}/{name}"
    store = connect(url)
    migrate(store)
    yield Bench(store, url)
    store.command(f"DROP DATABASE {name}")
    store.close()


@pytest.fixture(scope="session")
def server_bench(clickhouse) -> Iterator[Bench]:
    url = f"http://default:@127.0.0.1:{clickhouse.http_port}/otjobs_exactness"
    store = connect(url)
    migrate(store)
    for (view,) in store.query("SELECT view FROM system.view_refreshes WHERE database = 'otjobs_exactness'").rows:
        store.command(f"SYSTEM STOP VIEW {view}")
    yield Bench(store, url)
    store.close()


@pytest.fixture(scope="module")
def oldest_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The oldest server that is supported."""
    with clickhouses.clickhouse_server(tmp_path_factory.mktemp("oldest"), engine="oldest") as server:
        url = server.database_url("otjobs_exactness")
        store = connect(url)
        migrate(store)
        yield Bench(store, url)
        store.close()
