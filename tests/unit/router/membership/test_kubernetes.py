from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from tests.support.router.fake_kubernetes import FakeKubernetes, fake_kubernetes, pod, statefulset
from tests.support.waiting import until

from vectorcache.errors import Conflict, InvalidInput, Unavailable
from vectorcache_router.membership import kubernetes as module
from vectorcache_router.membership import watch as watching
from vectorcache_router.membership.api import connector
from vectorcache_router.membership.base import Members
from vectorcache_router.membership.kubernetes import KubernetesMembership

GRACE = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Follower:
    """A membership that is followed, and what it told last."""

    def __init__(self, membership: KubernetesMembership) -> None:
        self.membership = membership
        self.members: Members | None = None
        self.told = 0
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async with aclosing(self.membership.changes()) as changes:
            async for members in changes:
                self.members, self.told = members, self.told + 1

    async def sees(self, *ordinals: int, away: tuple[int, ...] = ()) -> None:
        await until(lambda: self.members == ring(*ordinals, away=away), 5)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def ring(*ordinals: int, away: tuple[int, ...] = ()) -> Members:
    urls = {f"words-node-{n}": f"http://10.0.0.{n}:8080" for n in ordinals}
    return Members(urls, frozenset(f"words-node-{n}" for n in away))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def kubernetes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[FakeKubernetes, Path]]:
    monkeypatch.setattr(watching, "LEAST_WATCH", 0.0)
    monkeypatch.setattr(watching, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(watching, "LONGEST_PAUSE", 0.02)
    async with fake_kubernetes(tmp_path) as (fake, path):
        for ordinal in range(3):
            await fake.put("pods", pod(ordinal))
        await fake.put("statefulsets", statefulset(3))
        yield fake, path


@pytest.fixture
def fake(kubernetes: tuple[FakeKubernetes, Path]) -> FakeKubernetes:
    return kubernetes[0]


@pytest.fixture
def membership(kubernetes: tuple[FakeKubernetes, Path], clock: Clock) -> KubernetesMembership:
    connect = connector({"KUBECONFIG": str(kubernetes[1])})
    return KubernetesMembership(connect, "cats/words", GRACE, clock)


@pytest.fixture
async def follower(membership: KubernetesMembership) -> AsyncGenerator[Follower]:
    follower = Follower(membership)
    yield follower
    await follower.close()


async def test_nodes_come_and_go_with_pods_and_the_statefulset(
    fake: FakeKubernetes, follower: Follower
) -> None:
    await follower.sees(0, 1, 2)
    await fake.put("statefulsets", statefulset(4))
    await fake.put("pods", pod(3, ready=False))
    await fake.put("pods", pod(3))
    await follower.sees(0, 1, 2, 3)
    await fake.put("statefulsets", statefulset(2))
    await follower.sees(0, 1)
    assert follower.membership.warnings() == []


async def test_members_are_yielded_once_both_lists_are_known_and_only_when_they_change(
    fake: FakeKubernetes, membership: KubernetesMembership
) -> None:
    fake.hang()
    follower = Follower(membership)
    fake.answer()
    await follower.sees(0, 1, 2)
    await fake.put("pods", pod(0, annotations={"a": "b"}))
    await fake.put("pods", pod(1, ready=False))
    await follower.sees(0, 1, 2, away=(1,))
    assert follower.told == 2
    await follower.close()


async def test_a_pod_that_is_deleted_keeps_its_place_until_the_grace_period_is_over(
    fake: FakeKubernetes, follower: Follower, clock: Clock
) -> None:
    await follower.sees(0, 1, 2)
    await fake.delete("pods", "words-node-1")
    await follower.sees(0, 1, 2, away=(1,))
    clock.now += GRACE - 1
    await fake.put("pods", pod(0, annotations={"a": "b"}))
    await fake.put("pods", pod(2, ready=False))
    await follower.sees(0, 1, 2, away=(1, 2))
    clock.now += 1
    await fake.put("pods", pod(0))
    await follower.sees(0, 2, away=(2,))
    await fake.put("pods", pod(1, address="10.0.0.1"))
    await follower.sees(0, 1, 2, away=(2,))


async def test_the_end_of_a_grace_period_needs_no_event(
    kubernetes: tuple[FakeKubernetes, Path],
) -> None:
    fake, path = kubernetes
    follower = Follower(KubernetesMembership(connector({"KUBECONFIG": str(path)}), "cats/words", 0.3))
    await follower.sees(0, 1, 2)
    await fake.delete("pods", "words-node-1")
    await follower.sees(0, 1, 2, away=(1,))
    await follower.sees(0, 2)
    await follower.close()


async def test_before_a_place_is_lost_the_pods_are_looked_at_again(
    kubernetes: tuple[FakeKubernetes, Path],
) -> None:
    """The watch may be dead without anybody knowing; the pod may be back."""
    fake, path = kubernetes
    follower = Follower(KubernetesMembership(connector({"KUBECONFIG": str(path)}), "cats/words", 0.5))
    await follower.sees(0, 1, 2)
    await fake.put("pods", pod(1, ready=False))
    await follower.sees(0, 1, 2, away=(1,))
    fake._objects["pods"]["words-node-1"] = pod(1)  # and no watch is told
    await follower.sees(0, 1, 2)
    assert follower.told == 3
    await follower.close()


async def test_without_the_api_nothing_changes_and_no_grace_period_ends(
    fake: FakeKubernetes, follower: Follower, clock: Clock
) -> None:
    await follower.sees(0, 1, 2)
    await fake.put("pods", pod(1, ready=False))
    await follower.sees(0, 1, 2, away=(1,))
    fake.status = 503
    await fake.end_watches()
    await until(lambda: "updated for 0 s" in " ".join(follower.membership.warnings()), 5)
    clock.now += 10 * GRACE
    (warning,) = follower.membership.warnings()
    assert warning.startswith(
        "the list of nodes has not been updated for 600 s: the Kubernetes API responded with status 503"
    )
    tries = fake.refusals
    await until(lambda: fake.refusals > tries + 5)
    assert follower.members == ring(0, 1, 2, away=(1,))
    fake.status = 200
    await until(lambda: not follower.membership.warnings(), 5)
    await follower.sees(0, 1, 2, away=(1,))
    clock.now += GRACE
    await fake.put("pods", pod(0, annotations={"a": "b"}))
    await follower.sees(0, 2)


async def test_a_router_that_starts_while_a_node_restarts_has_the_ring_of_the_others(
    fake: FakeKubernetes, membership: KubernetesMembership
) -> None:
    crashed = pod(1, ready=False)
    crashed["status"]["conditions"][-1]["lastTransitionTime"] = "2026-11-21T11:59:45Z"  # 15 s before the list
    await fake.put("pods", crashed)
    deleted = {"deletionTimestamp": "2026-11-21T12:00:30Z", "deletionGracePeriodSeconds": 60}  # 30 s before
    await fake.put("pods", pod(2, **deleted))
    follower = Follower(membership)
    await follower.sees(0, 1, 2, away=(1, 2))
    assert membership._presence.next_end() == GRACE - 30
    await follower.close()


async def test_without_a_statefulset_the_pods_decide(
    fake: FakeKubernetes, membership: KubernetesMembership
) -> None:
    await fake.delete("statefulsets", "words-node")
    follower = Follower(membership)
    await follower.sees(0, 1, 2)
    await fake.put("statefulsets", statefulset(1))
    await follower.sees(0)
    await fake.delete("statefulsets", "words-node")
    await follower.sees(0, 1, 2)
    await follower.close()


async def test_the_number_of_nodes_is_the_resources(
    fake: FakeKubernetes, follower: Follower, clock: Clock
) -> None:
    await follower.sees(0, 1, 2)
    membership = follower.membership
    assert await membership.desired() == 3
    await membership.resize(5)
    assert (fake.replicas, fake.patches) == (5, 1)
    assert await membership.desired() == 5
    fake.replicas = 7
    asked = fake.lists
    assert [await membership.desired() for _ in range(20)] == [5] * 20
    assert fake.lists == asked, "callers of a router are no load of the API"
    clock.now += 1.0
    assert await membership.desired() == 7


async def test_desired_falls_back_to_the_statefulset(
    fake: FakeKubernetes, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    await follower.sees(0, 1, 2)
    for status in (403, 404, 500):
        fake.status = status
        assert await follower.membership.desired() == 3
    monkeypatch.setattr(module, "SCALE_SECONDS", 0.05)
    fake.hang()
    assert await follower.membership.desired() == 3
    fake.answer()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidInput),
        (422, InvalidInput),
        (403, Conflict),
        (404, Conflict),
        (409, Conflict),
        (429, Unavailable),
        (500, Unavailable),
    ],
)
async def test_a_resize_that_is_refused_says_why(
    fake: FakeKubernetes, membership: KubernetesMembership, status: int, kind: type[Exception]
) -> None:
    fake.status = status
    with pytest.raises(kind, match="a reason of its own") as refused:
        await membership.resize(1)
    if isinstance(refused.value, InvalidInput):
        assert (refused.value.field, refused.value.allowed) == ("count", "a reason of its own")


async def test_it_ends_when_it_is_closed(fake: FakeKubernetes, membership: KubernetesMembership) -> None:
    before = asyncio.all_tasks()
    follower = Follower(membership)
    await follower.sees(0, 1, 2)
    await follower.close()
    await until(lambda: asyncio.all_tasks() - before <= {asyncio.current_task()}, 5)


@pytest.mark.parametrize("environment", [{}, {"KUBECONFIG": ""}])
def test_outside_of_a_cluster_a_kubeconfig_is_needed(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="KUBECONFIG"):
        connector(environment)
