"""Reconcile with a fake API: its writes, its steady state without writes, and failures at any point."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.support.operator.fake_kube import FakeKube
from tests.support.operator.resources import IMAGES, NOW, SMALL, Object, claim, obj

from vectorcache_operator.apply import Applier
from vectorcache_operator.cache import WatchCache
from vectorcache_operator.conditions import find
from vectorcache_operator.errors import ApiConflict, ApiRefused, ApiUnavailable, NamespaceTerminating
from vectorcache_operator.events import Events
from vectorcache_operator.kinds import BY_NAME, CLAIM, STATEFUL_SET, VECTOR_CACHE
from vectorcache_operator.metrics import OperatorMetrics
from vectorcache_operator.names import Key
from vectorcache_operator.observed import Surroundings
from vectorcache_operator.reconcile import Reconciler
from vectorcache_operator.routers import Routers
from vectorcache_operator.secrets import Secrets

KEY = Key("shop", "products")
SECRET = {"kind": "Secret", "metadata": {"name": "blob", "namespace": "shop"}, "data": {"KEY": "c2VjcmV0"}}
OPEN = {"blob": {"url": "azure://account/container"}}


@dataclass
class World:
    """A fake API and an operator that watches it."""

    kube: FakeKube
    cache: WatchCache
    reconciler: Reconciler
    metrics: OperatorMetrics
    events: Events
    surroundings: Surroundings
    seconds: float = 0.0

    def watch(self) -> None:
        """Deliver the events of the watches."""
        for kind, one in self.kube.events():
            self.cache.put(kind, one)

    async def reconcile(self) -> float | None:
        self.watch()
        return await self.reconciler.reconcile(KEY)

    def condition(self, kind: str) -> Object:
        return find(self.kube.objects["VectorCache", "products"]["status"]["conditions"], kind)  # type: ignore[arg-type]


def world(spec: Object = SMALL, kube: FakeKube | None = None) -> World:
    api, cache = kube or FakeKube(), WatchCache()
    if kube is None:
        api.put(obj(spec=spec))
        api.put(SECRET)
    metrics = OperatorMetrics(CollectorRegistry())
    surroundings = Surroundings(IMAGES, "vectorcache-system")

    def clock() -> float:
        return made.seconds

    def now() -> Any:
        return NOW + timedelta(seconds=made.seconds)

    client: Any = api
    secrets = Secrets(client, clock, max_age=60)
    routers = Routers(None, 10.0, lambda _key: None)  # type: ignore[arg-type]
    applier = Applier(client, cache, metrics)
    events = Events(applier.create_event, metrics, clock, now, "here")
    reconciler = Reconciler(applier, cache, surroundings, secrets, routers, events, metrics, now)
    made = World(api, cache, reconciler, metrics, events, surroundings)
    return made


def set_spec(kube: FakeKube, **spec: Any) -> None:
    live = copy.deepcopy(kube.objects["VectorCache", "products"])
    live["spec"] |= spec
    live["metadata"]["generation"] += 1
    kube.put(live)


async def test_the_first_pass_creates_everything_and_later_ones_write_nothing() -> None:
    here = world()
    await here.reconcile()
    assert [one.split()[1] for one in here.kube.writes] == [
        *("ServiceAccount", "ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Service", "Service"),
        *(
            "NetworkPolicy",
            "PodDisruptionBudget",
            "PodDisruptionBudget",
            "StatefulSet",
            "Deployment",
            "VectorCache",
        ),
    ]
    here.kube.writes.clear()
    here.kube.reads.clear()
    for _ in range(3):
        here.seconds += 10
        await here.reconcile()
    assert (here.kube.writes, here.kube.reads) == ([], [])


async def test_a_new_process_writes_nothing() -> None:
    first = world()
    await first.reconcile()
    first.kube.writes.clear()
    second = world(kube=first.kube)
    second.seconds = 500
    await second.reconcile()
    assert first.kube.writes == []


async def test_written_objects_are_known_before_the_watch_delivers_them() -> None:
    here = world()
    await here.reconcile()
    here.kube.writes.clear()
    await here.reconciler.reconcile(KEY)
    assert here.kube.writes == []


@pytest.mark.parametrize("failing", range(13))
async def test_a_pass_completes_one_that_failed_at_any_write(failing: int) -> None:
    whole = world()
    await whole.reconcile()
    here = world()
    here.kube.fail = [*([None] * failing), ApiUnavailable("away")]
    with pytest.raises(ApiUnavailable):
        await here.reconcile()
    for _ in range(2):
        again = world(kube=here.kube)
        await again.reconcile()
    assert here.kube.owned().keys() == whole.kube.owned().keys()
    assert len(here.kube.writes) == len(whole.kube.writes)


async def test_every_deleted_object_is_created_again() -> None:
    here = world()
    await here.reconcile()
    for kind, name in list(here.kube.owned()):
        gone = here.kube.objects.pop((kind, name))
        here.cache.remove(BY_NAME[kind], gone)
        await here.reconcile()
        assert (kind, name) in here.kube.objects


async def test_a_changed_object_is_repaired_and_reported() -> None:
    here = world()
    await here.reconcile()
    changed = copy.deepcopy(here.kube.objects["StatefulSet", "products-node"])
    changed["spec"]["replicas"] = 9
    here.kube.put(changed)
    here.kube.writes.clear()
    await here.reconcile()
    assert here.kube.writes == ["apply StatefulSet products-node"]
    assert here.kube.objects["StatefulSet", "products-node"]["spec"]["replicas"] == 3
    told = [here.events._queue.get_nowait()["reason"] for _ in range(here.events._queue.qsize())]
    assert "Repaired" in told


async def test_a_terminating_object_is_waited_for() -> None:
    here = world()
    await here.reconcile()
    terminating = copy.deepcopy(here.kube.objects["StatefulSet", "products-node"])
    terminating["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    here.kube.put(terminating)
    here.kube.writes.clear()
    assert await here.reconcile() == 5.0
    assert "apply StatefulSet products-node" not in here.kube.writes


async def test_a_terminating_resource_is_ignored() -> None:
    here = world()
    terminating = copy.deepcopy(here.kube.objects["VectorCache", "products"])
    terminating["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    here.kube.put(terminating)
    assert await here.reconcile() is None
    assert here.kube.writes == []


async def test_an_invalid_spec_is_reported_and_changes_no_object() -> None:
    here = world()
    await here.reconcile()
    here.kube.writes.clear()
    set_spec(here.kube, nodes={"replicas": 1})
    assert await here.reconcile() is None
    assert here.kube.writes == ["apply VectorCache products/status"]
    assert here.condition("Degraded")["reason"] == "InvalidSpec"
    assert "ring.replication 2 must not exceed" in here.condition("Degraded")["message"]
    await here.reconcile()
    assert len(here.kube.writes) == 1
    set_spec(here.kube, nodes={"replicas": 2})
    await here.reconcile()
    assert here.condition("Degraded")["reason"] == "AsExpected"


async def test_workloads_wait_for_their_secret_and_survive_its_deletion() -> None:
    here = world()
    secret = here.kube.objects.pop(("Secret", "blob"))
    assert await here.reconcile() == 5.0
    assert ("StatefulSet", "products-node") not in here.kube.objects
    assert here.condition("Degraded")["reason"] == "CredentialsMissing"
    here.kube.objects["Secret", "blob"] = secret
    await here.reconcile()
    assert here.condition("Degraded")["reason"] == "AsExpected"
    before = here.kube.objects["StatefulSet", "products-node"]["spec"]
    del here.kube.objects["Secret", "blob"]
    here.seconds = 61
    set_spec(here.kube, nodes={"replicas": 5})
    await here.reconcile()
    after = here.kube.objects["StatefulSet", "products-node"]["spec"]
    assert here.condition("Degraded")["reason"] == "CredentialsMissing"
    assert (after["replicas"], after["template"]) == (5, before["template"])


async def test_a_changed_secret_restarts_all_pods_once_it_is_read_again() -> None:
    here = world()
    await here.reconcile()
    before = copy.deepcopy(here.kube.objects)
    here.kube.put(SECRET | {"data": {"KEY": "bmV3"}})
    await here.reconcile()
    assert here.kube.objects["Deployment", "products-router"] == before["Deployment", "products-router"]
    here.seconds = 61
    await here.reconcile()
    for name in (("Deployment", "products-router"), ("StatefulSet", "products-node")):
        assert here.kube.objects[name]["spec"]["template"] != before[name]["spec"]["template"]
    assert "bmV3" not in str(here.kube.owned())


async def test_a_refusal_is_reported_and_the_other_objects_are_created() -> None:
    here = world(OPEN)
    here.kube.fail = [*([None] * 10), ApiRefused(422, "Invalid", "spec.affinity: no")]
    assert await here.reconcile() == 60.0
    assert here.condition("Degraded")["reason"] == "ApplyRefused"
    assert here.condition("Degraded")["message"] == "StatefulSet products-node: spec.affinity: no"
    assert ("Deployment", "products-router") in here.kube.objects


async def test_an_object_of_another_owner_is_not_changed() -> None:
    here = world(OPEN)
    foreign = {
        "kind": "Service",
        "metadata": {"name": "products-node", "namespace": "shop", "labels": {"a": "b"}},
    }
    here.kube.objects["Service", "products-node"] = foreign
    here.kube.fail = [*([None] * 5), ApiConflict(409, "Conflict", "owned by kubectl")]
    here.cache.put(VECTOR_CACHE, here.kube.objects["VectorCache", "products"])
    await here.reconciler.reconcile(KEY)
    assert here.condition("Degraded")["reason"] == "NameTaken"
    assert here.kube.objects["Service", "products-node"] == foreign


async def test_claims_grow_before_the_stateful_set_is_replaced() -> None:
    here = world(OPEN)
    await here.reconcile()
    here.kube.put(claim(0, "10Gi"))
    set_spec(here.kube, nodes={"replicas": 3, "disk": {"capacity": "20Gi"}})
    here.kube.writes.clear()
    await here.reconcile()
    assert here.kube.writes[:2] == [
        "merge PersistentVolumeClaim cache-products-node-0",
        "delete StatefulSet products-node Orphan",
    ]
    assert "apply StatefulSet products-node" not in here.kube.writes
    gone = here.cache.get(STATEFUL_SET, "shop", "products-node")
    assert gone is not None
    here.cache.remove(STATEFUL_SET, gone)
    await here.reconcile()
    made = here.kube.objects["StatefulSet", "products-node"]["spec"]
    assert made["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "20Gi"
    here.kube.writes.clear()
    await here.reconcile()
    assert here.kube.writes == []


async def test_a_refused_expansion_is_not_retried_immediately() -> None:
    here = world(OPEN)
    await here.reconcile()
    here.kube.put(claim(0, "10Gi"))
    set_spec(here.kube, nodes={"replicas": 3, "disk": {"capacity": "20Gi"}})
    here.kube.fail = [ApiRefused(403, "Forbidden", "the storageclass does not resize")]
    assert await here.reconcile() == 60.0
    assert here.condition("Degraded")["reason"] == "VolumeExpansionRefused"
    here.kube.writes.clear()
    await here.reconcile()
    assert here.kube.writes == []
    set_spec(here.kube, nodes={"replicas": 3, "disk": {"capacity": "10Gi"}})
    await here.reconcile()
    assert here.condition("Degraded")["reason"] == "AsExpected"
    assert len(here.cache.of(KEY, CLAIM)) == 1


async def test_unwanted_network_policies_are_deleted() -> None:
    here = world(OPEN | {"router": {"allowFrom": [{"podSelector": {}}]}})
    await here.reconcile()
    assert ("NetworkPolicy", "products-router") in here.kube.objects
    set_spec(here.kube, router={})
    await here.reconcile()
    assert ("NetworkPolicy", "products-router") not in here.kube.objects


async def test_service_monitors_are_created_if_the_kind_exists() -> None:
    here = world(OPEN)
    here.surroundings.service_monitors = True
    await here.reconcile()
    assert ("ServiceMonitor", "products") in here.kube.objects


async def test_the_series_of_a_deleted_resource_are_dropped() -> None:
    here = world(OPEN)
    await here.reconcile()
    live = here.kube.objects.pop(("VectorCache", "products"))
    here.cache.remove(VECTOR_CACHE, live)
    await here.reconciler.reconcile(KEY)
    samples = itertools.chain.from_iterable(family.samples for family in here.metrics.registry.collect())
    assert not [sample for sample in samples if sample.labels.get("name") == "products"]


async def test_a_terminating_namespace_is_ignored() -> None:
    here = world(OPEN)
    here.kube.fail = [NamespaceTerminating(403, "Forbidden", "it is being terminated")]
    assert await here.reconcile() is None
    assert here.kube.writes == []
