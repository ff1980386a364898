from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.support.operator.fake_kube import FakeKube
from tests.support.operator.resources import IMAGES, live, obj, resource
from tests.support.waiting import until

from vectorcache_operator import resync as module
from vectorcache_operator.cache import WatchCache
from vectorcache_operator.errors import ApiUnavailable
from vectorcache_operator.health import Health
from vectorcache_operator.kinds import APPLIED, SERVICE, SERVICE_MONITOR, VECTOR_CACHE
from vectorcache_operator.metrics import OperatorMetrics
from vectorcache_operator.names import Key
from vectorcache_operator.observed import Surroundings
from vectorcache_operator.plan.service import services
from vectorcache_operator.queue import WorkQueue
from vectorcache_operator.resync import Resync
from vectorcache_operator.secrets import Secrets

KEY = Key("shop", "products")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Here:
    """A resync with a fake API."""

    def __init__(self) -> None:
        self.kube, self.cache, self.clock = FakeKube(), WatchCache(), Clock()
        self.asked: list[tuple[Key, float]] = []
        self.metrics = OperatorMetrics(CollectorRegistry())
        client: Any = self.kube
        self.resync = Resync(
            client,
            self.cache,
            Secrets(client, self.clock, 60.0),
            Surroundings(IMAGES, "system"),
            self.metrics,
            lambda key, delay: self.asked.append((key, delay)),
            self.clock,
            random.Random(1),
            120.0,
            [VECTOR_CACHE, *APPLIED, SERVICE_MONITOR],
            (),
        )

    def put(self) -> None:
        """Store a resource and its Services in the API and in the watch cache."""
        self.cache.put(VECTOR_CACHE, self.kube.put(obj()))
        for one in services(resource()):
            self.cache.put(SERVICE, self.kube.put(live(one)))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setattr(module, "SECOND_CHECK_SECONDS", 0.01)
    monkeypatch.setattr(module, "FILL_CHECK_SECONDS", 0.01)
    return Here()


async def test_the_reconciles_of_a_round_are_spread_over_time(here: Here) -> None:
    here.put()
    await here.resync.round()
    ((key, delay),) = here.asked
    assert key == KEY
    assert 0.0 <= delay <= 30.0
    assert here.resync.behind == ""


async def test_an_object_whose_deletion_was_missed_is_dropped(here: Here) -> None:
    here.put()
    del here.kube.objects["Service", "products-node"]
    await here.resync.round()
    assert here.cache.get(SERVICE, "shop", "products-node") is None
    assert (KEY, 0.0) in here.asked
    assert here.resync.behind == ""


async def test_an_object_newer_than_the_list_is_kept(here: Here) -> None:
    here.put()
    new = live(services(resource())[0], resourceVersion="99999", uid="made after the list")
    here.cache.put(SERVICE, new)
    await here.resync.round()
    assert here.cache.get(SERVICE, "shop", "products-node") is not None


async def test_missed_changes_are_a_liveness_failure(here: Here) -> None:
    here.put()
    here.kube.put(here.kube.objects["Service", "products-node"])
    await here.resync.round()
    assert here.resync.behind == "Service shop/products-node"
    assert health(here).liveness_failures() == ["the watches missed changes of Service shop/products-node"]
    here.cache.put(SERVICE, here.kube.objects["Service", "products-node"])
    await here.resync.round()
    assert health(here).liveness_failures() == []


async def test_an_object_that_arrives_before_the_second_check_is_not_missing(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECOND_CHECK_SECONDS", 0.1)
    here.put()
    late = here.kube.put(here.kube.objects["Service", "products-node"])
    task = asyncio.create_task(here.resync.round())
    await until(lambda: len(here.kube.reads) >= 1 + len(APPLIED))
    here.cache.put(SERVICE, late)
    await task
    assert here.resync.behind == ""


async def test_an_unreachable_api_is_no_liveness_failure(here: Here) -> None:
    async def away(*_: object) -> None:
        raise ApiUnavailable("away")

    here.put()
    here.kube.serves = away  # type: ignore[assignment, method-assign]
    here.clock.now = 10_000.0
    assert health(here).liveness_failures() == ["the last resync ended 10000 s ago"]
    await here.resync.round()
    assert health(here).liveness_failures() == []


async def test_service_monitors_are_detected_later(here: Here) -> None:
    await here.resync.round()
    assert "list ServiceMonitor" not in here.kube.reads
    here.kube.monitors = True
    await here.resync.round()
    assert here.resync.surroundings.service_monitors
    assert "list ServiceMonitor" in here.kube.reads


async def test_the_cache_is_complete_when_it_contains_all_listed_objects(here: Here) -> None:
    here.kube.put(obj())
    task = asyncio.create_task(here.resync.run())
    await until(lambda: here.kube.reads.count("list VectorCache") >= 2)
    assert await health(here).unready() == ["the watch cache is not complete yet"]
    here.cache.put(VECTOR_CACHE, here.kube.objects["VectorCache", "products"])
    await until(here.resync.filled.is_set)
    assert await health(here).unready() == []
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_cache_of_an_empty_cluster_is_complete_at_once(here: Here) -> None:
    task = asyncio.create_task(here.resync.run())
    await until(here.resync.filled.is_set)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_hanging_reconcile_is_a_liveness_failure(here: Here) -> None:
    go = asyncio.Event()

    async def work(_key: Key) -> None:
        await go.wait()

    queue: WorkQueue[Key] = WorkQueue(work, clock=here.clock, rng=random.Random(1))
    task = asyncio.create_task(queue.run())
    queue.add(KEY)
    await until(lambda: len(queue) == 0)
    here.clock.now = 301.0
    assert Health(queue, here.resync, here.clock).liveness_failures() == [
        "a reconcile has been running for 301 s"
    ]
    go.set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def health(here: Here) -> Health:
    async def work(_key: Key) -> None:
        return None

    return Health(WorkQueue(work, clock=here.clock, rng=random.Random(1)), here.resync, here.clock)
