from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.support.operator.fake_kube import FakeKube
from tests.support.operator.resources import claim, live, obj, resource

from vectorcache_operator.apply import Applier
from vectorcache_operator.cache import WatchCache
from vectorcache_operator.changes import Apply, Cause, Delete, Resize
from vectorcache_operator.errors import (
    ApiConflict,
    ApiGone,
    ApiRefused,
    ApiUnavailable,
    NamespaceTerminating,
    NameTaken,
)
from vectorcache_operator.kinds import CLAIM, SERVICE, VECTOR_CACHE
from vectorcache_operator.metrics import OperatorMetrics
from vectorcache_operator.names import Key
from vectorcache_operator.plan.service import services

KEY = Key("shop", "products")
WANTED = services(resource())[0]
CREATE = Apply(WANTED, Cause.CREATED)
REFUSED = ApiRefused(403, "Forbidden", "no")
CONFLICT = ApiConflict(409, "Conflict", "owned by kubectl")


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def applier(kube: Any) -> Applier:
    return Applier(kube, WatchCache(), OperatorMetrics(CollectorRegistry()))


async def test_an_applied_object_enters_the_watch_cache(kube: FakeKube, applier: Applier) -> None:
    (result,) = await applier.run(KEY, [CREATE])
    assert result.error is None
    assert applier.cache.get(SERVICE, "shop", "products-node") == kube.objects["Service", "products-node"]
    assert applier.metrics.writes.labels("shop", "products", "Service")._value.get() == 1


async def test_a_refused_object_does_not_stop_the_rest(kube: FakeKube, applier: Applier) -> None:
    kube.fail = [REFUSED]
    results = await applier.run(KEY, [CREATE, CREATE])
    assert [result.error for result in results] == [REFUSED, None]


async def test_a_refused_claim_stops_the_other_claims(kube: FakeKube, applier: Applier) -> None:
    resizes = [Resize(kube.put(claim(number, "10Gi")), "20Gi") for number in range(3)]
    kube.fail = [None, REFUSED]
    results = await applier.run(KEY, resizes)
    assert [result.error for result in results] == [None, REFUSED]
    grown = applier.cache.get(CLAIM, "shop", "cache-products-node-0")
    assert grown is not None
    assert grown["spec"]["resources"]["requests"]["storage"] == "20Gi"


@pytest.mark.parametrize("error", [ApiUnavailable("timeout"), NamespaceTerminating(403, "Forbidden", "no")])
async def test_errors_that_concern_all_writes_are_raised(
    kube: FakeKube, applier: Applier, error: Exception
) -> None:
    kube.fail = [error]
    with pytest.raises(type(error)):
        await applier.run(KEY, [CREATE])


async def test_an_object_of_the_resource_is_adopted_by_force(kube: FakeKube, applier: Applier) -> None:
    kube.put(live(WANTED))
    kube.fail = [CONFLICT]
    (result,) = await applier.run(KEY, [CREATE])
    assert result.error is None


async def test_an_object_of_another_owner_is_not_adopted(kube: FakeKube, applier: Applier) -> None:
    kube.put(live(WANTED, ownerReferences=[{"uid": "another"}]))
    kube.fail = [CONFLICT]
    (result,) = await applier.run(KEY, [CREATE])
    assert isinstance(result.error, NameTaken)
    assert kube.writes == []


@pytest.mark.parametrize("error", [ApiGone(404, "NotFound", "gone"), CONFLICT])
async def test_deleting_an_absent_object_succeeds(
    kube: FakeKube, applier: Applier, error: ApiRefused
) -> None:
    kube.fail = [error]
    (result,) = await applier.run(KEY, [Delete(SERVICE, live(WANTED))])
    assert result.error is None


async def test_the_status_enters_the_watch_cache(kube: FakeKube, applier: Applier) -> None:
    kube.put(obj())
    await applier.write_status(KEY, {"replicas": 3})
    stored = applier.cache.get(VECTOR_CACHE, "shop", "products")
    assert stored is not None
    assert stored["status"] == {"replicas": 3}
