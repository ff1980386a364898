from __future__ import annotations

from tests.support.operator.resources import facts, live, obj, pod, resource

from vectorcache_operator.cache import WatchCache
from vectorcache_operator.kinds import POD, SERVICE, VECTOR_CACHE
from vectorcache_operator.names import Key
from vectorcache_operator.plan import plan

KEY = Key("shop", "products")
SERVICES = [live(one) for one in plan(resource(), facts()) if one["kind"] == "Service"]


def test_objects_by_resource() -> None:
    cache = WatchCache()
    assert cache.put(VECTOR_CACHE, obj()) == {KEY}
    for one in SERVICES:
        assert cache.put(SERVICE, one) == {KEY}
    assert [one["metadata"]["name"] for one in cache.of(KEY, SERVICE)] == ["products-node", "products-router"]
    assert cache.of(Key("shop", "other"), SERVICE) == []
    assert cache.get(SERVICE, "shop", "products-node") is not None
    assert (len(cache), list(cache.keys())) == (3, [KEY])


def test_an_older_version_is_dropped() -> None:
    cache, old = WatchCache(), live(SERVICES[0])
    new = live(SERVICES[0])
    cache.put(SERVICE, new)
    assert cache.put(SERVICE, old) == set()
    known = cache.get(SERVICE, "shop", "products-node")
    assert known is not None
    assert known["metadata"]["resourceVersion"] == new["metadata"]["resourceVersion"]


def test_an_object_that_moves_to_another_resource_concerns_both() -> None:
    cache = WatchCache()
    cache.put(SERVICE, SERVICES[0])
    moved = live(SERVICES[0])
    moved["metadata"]["labels"]["app.kubernetes.io/instance"] = "other"
    assert cache.put(SERVICE, moved) == {KEY, Key("shop", "other")}
    assert cache.of(KEY, SERVICE) == []


def test_removal_compares_the_uid() -> None:
    cache = WatchCache()
    cache.put(SERVICE, SERVICES[0])
    again = live(SERVICES[0], uid="another")
    cache.put(SERVICE, again)
    assert cache.remove(SERVICE, SERVICES[0]) == set()
    assert cache.remove(SERVICE, again) == {KEY}
    assert cache.remove(SERVICE, again) == set()
    assert (len(cache), cache.of(KEY, SERVICE)) == (0, [])


def test_unused_fields_are_not_stored() -> None:
    cache = WatchCache()
    whole = pod("products-node-0") | {"spec": {"containers": []}}
    whole["metadata"]["managedFields"] = [{}]
    cache.put(POD, whole)
    (kept,) = cache.of(KEY, POD)
    assert "managedFields" not in kept["metadata"]
    assert "spec" not in kept
    assert "managedFields" in whole["metadata"]
