"""The blob store and the volumes: other credentials, larger disks, outages."""

from __future__ import annotations

import base64
import time

from tests.e2e.support.cache import Cache
from tests.e2e.support.kubectl import Resource
from tests.e2e.support.operator import Operator
from tests.e2e.support.searches import Searches
from tests.e2e.support.waiting import until, until_equal

CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
ACCOUNTS = "AZURITE_ACCOUNTS"
OUTAGE_SECONDS = 30.0


def test_new_credentials_roll_the_pods_and_the_old_ones_may_go(
    cache: Cache, searches: Searches, operator: Operator
) -> None:
    connection, account = (
        _secret(cache, "blob", CONNECTION),
        _secret(cache, "azurite", ACCOUNTS).split(":")[0],
    )
    old = connection.partition("AccountKey=")[2].partition(";")[0]
    new = base64.b64encode(b"another key that everyone knows" + str(time.time_ns()).encode()).decode()
    before = _pods(cache)
    with searches.watched() as answers, operator.looking_often(10):
        _set_secret(cache, "azurite", ACCOUNTS, f"{account}:{old}:{new}")  # both keys are good for a while
        _restart_azurite(cache)
        _set_secret(cache, "blob", CONNECTION, connection.replace(old, new))
        until(lambda: not set(before.values()) & set(_pods(cache).values()), "every pod is another one", 150)
        _set_secret(cache, "azurite", ACCOUNTS, f"{account}:{new}")
        _restart_azurite(cache)
        until(
            lambda: cache.condition("StorageReachable").get("status") == "True",
            "the new key opens the store",
            60,
        )
        cache.wait_settled()
    answers.check()
    told = str(cache.resource()) + cache.kubectl("get", "events", "--output=json")
    for pod in _pods(cache):
        told += cache.kubectl("logs", pod)
    assert old not in told
    assert new not in told


def test_disks_grow_and_do_not_shrink(cache: Cache, searches: Searches) -> None:
    with searches.watched() as answers:
        cache.change(nodes={"disk": {"capacity": "2Gi"}})
        wanted = {f"cache-words-node-{number}": "2Gi" for number in range(3)}
        until_equal(lambda: _requested(cache), wanted, "every claim asks for more")
        cache.wait_settled()
        cache.change(nodes={"disk": {"capacity": "1Gi"}})
        until(lambda: cache.condition("Degraded").get("reason") == "VolumeShrinkRefused", "it says no")
        assert "2Gi" in cache.condition("Degraded")["message"]
        assert _requested(cache) == wanted
        assert cache.condition("Ready")["status"] == "True"
    answers.check()


def test_what_is_cached_is_answered_while_the_blob_store_is_down(cache: Cache, searches: Searches) -> None:
    with searches.watched() as answers:
        cache.kubectl("scale", "deployment/azurite", "--replicas=0")
        begun = time.monotonic()
        try:
            until(
                lambda: cache.condition("StorageReachable").get("status") == "False",
                "the condition says so",
                45,
            )
            until(lambda: time.monotonic() - begun > OUTAGE_SECONDS, "the outage lasts", OUTAGE_SECONDS + 5)
            assert cache.condition("Ready")["status"] == "True"
        finally:
            cache.kubectl("scale", "deployment/azurite", "--replicas=1")
        until(lambda: cache.condition("StorageReachable").get("status") == "True", "it is back", 60)
    answers.check()


def test_all_pods_restart_while_the_blob_store_is_down(cache: Cache, searches: Searches) -> None:
    """What volumes hold is enough: chunks, and what says where they are."""
    before = _pods(cache)
    cache.kubectl("scale", "deployment/azurite", "--replicas=0")
    try:
        until(
            lambda: cache.condition("StorageReachable").get("status") == "False", "the condition says so", 45
        )
        cache.kubectl("delete", "pod", "--wait=false", *before)
        until(lambda: not set(before.values()) & set(_pods(cache).values()), "every pod is another one", 90)
        cache.wait_settled()
        searches.wait_well()
        with searches.watched() as answers:
            begun = time.monotonic()
            until(lambda: time.monotonic() - begun > 10, "searches go on", 15)
        answers.check(least=50)
    finally:
        cache.kubectl("scale", "deployment/azurite", "--replicas=1")
    until(lambda: cache.condition("StorageReachable").get("status") == "True", "it is back", 60)


def _secret(cache: Cache, name: str, key: str) -> str:
    return base64.b64decode(cache.kubectl.get("secret", name)["data"][key]).decode()


def _set_secret(cache: Cache, name: str, key: str, value: str) -> None:
    cache.kubectl.patch("secret", name, {"stringData": {key: value}})


def _restart_azurite(cache: Cache) -> None:
    cache.kubectl("rollout", "restart", "deployment/azurite")
    cache.kubectl("rollout", "status", "deployment/azurite", "--timeout=60s", seconds=90)


def _pods(cache: Cache) -> dict[str, str]:
    pods: list[Resource] = [*cache.pods("node"), *cache.pods("router")]
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}


def _requested(cache: Cache) -> dict[str, str]:
    claims = cache.kubectl.list("persistentvolumeclaim", "app.kubernetes.io/instance=words")
    live = {f"cache-{name}" for name in cache.ready_pods("node")}
    return {
        claim["metadata"]["name"]: claim["spec"]["resources"]["requests"]["storage"]
        for claim in claims
        if claim["metadata"]["name"] in live
    }
