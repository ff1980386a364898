from __future__ import annotations

from typing import Any

from tests.support.operator.fake_kube import FakeKube

from vectorcache_operator.secrets import Secrets


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def put(kube: FakeKube, name: str, **data: str) -> None:
    kube.put({"kind": "Secret", "metadata": {"name": name, "namespace": "shop"}, "data": data})


def secrets(kube: Any, clock: Clock) -> Secrets:
    return Secrets(kube, clock, max_age=60.0)


async def test_an_expired_hash_is_read_again() -> None:
    kube, clock = FakeKube(), Clock()
    put(kube, "blob", KEY="b25l")
    found = secrets(kube, clock)
    first = await found.digest("shop", "blob")
    put(kube, "blob", KEY="dHdv")
    clock.now = 59.0
    assert await found.digest("shop", "blob") == first
    assert len(kube.reads) == 1
    clock.now = 60.0
    second = await found.digest("shop", "blob")
    assert second is not None
    assert second != first
    found.drop_expired()
    assert await found.digest("shop", "blob") == second
    assert len(kube.reads) == 2


async def test_a_missing_or_empty_secret_is_requested_every_time() -> None:
    kube, clock = FakeKube(), Clock()
    found = secrets(kube, clock)
    assert await found.digest("shop", "blob") is None
    put(kube, "blob")
    assert await found.digest("shop", "blob") is None
    put(kube, "blob", KEY="b25l")
    assert await found.digest("shop", "blob") is not None


async def test_the_hash_depends_on_the_data_only() -> None:
    kube, clock = FakeKube(), Clock()
    put(kube, "one", KEY="b25l", B="eA==")
    put(kube, "two", KEY="b25l", B="eA==")
    first = await secrets(kube, clock).digest("shop", "one")
    assert first != await secrets(kube, clock).digest("shop", "two")
    kube.put(
        {
            "kind": "Secret",
            "metadata": {"name": "one", "namespace": "shop", "labels": {}},
            "data": {"B": "eA==", "KEY": "b25l"},
        }
    )
    assert await secrets(kube, clock).digest("shop", "one") == first
    assert first is not None
    assert len(first) == 16
