from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.router.fake_kubernetes import FakeKubernetes, fake_kubernetes, pod
from tests.support.waiting import until

from vectorcache_router.membership import api
from vectorcache_router.membership import watch as watching
from vectorcache_router.membership.api import connector
from vectorcache_router.membership.objects import PodObject, decoder
from vectorcache_router.membership.watch import Watch

Parts = tuple[FakeKubernetes, Watch[PodObject], Path]


class Pauses:
    """Takes the place of sleeping; the test lets go."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
async def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Parts]:
    monkeypatch.setattr(watching, "LEAST_WATCH", 0.0)
    async with fake_kubernetes(tmp_path) as (fake, path):
        for ordinal in range(2):
            await fake.put("pods", pod(ordinal))
        watch = watch_of(path)
        task = asyncio.create_task(watch.run())
        try:
            yield fake, watch, path
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def watch_of(path: Path, **more: Any) -> Watch[PodObject]:
    connect = connector({"KUBECONFIG": str(path)})
    query = [("labelSelector", "a=b")]
    more.setdefault("sleep", Pauses())
    return Watch(connect, "/api/v1/namespaces/cats/pods", query, decoder(PodObject).decode, **more)


async def has(watch: Watch[PodObject], *ordinals: int) -> None:
    await until(lambda: set(watch.objects) == {f"words-node-{n}" for n in ordinals})


async def test_objects_are_listed_and_followed(parts: Parts) -> None:
    fake, watch, _ = parts
    await has(watch, 0, 1)
    assert watch.listed
    assert watch.looked_at == 1795262400.0, "by the server's clock"
    await fake.put("pods", pod(2))
    await has(watch, 0, 1, 2)
    await fake.put("pods", pod(2, address="10.9.9.9"))
    await until(lambda: watch.objects["words-node-2"].status.address == "10.9.9.9")
    await fake.delete("pods", "words-node-0")
    await has(watch, 1, 2)
    assert fake.lists == 1


async def test_a_watch_that_the_server_ends_goes_on_where_it_was(parts: Parts) -> None:
    fake, watch, _ = parts
    await fake.reached(watches=1)
    for turn in range(2, 5):
        await fake.end_watches()
        await fake.put("pods", pod(turn))
        await fake.reached(watches=turn)
        await has(watch, *range(turn + 1))
    assert (fake.lists, watch.failure) == (1, "")


async def test_a_version_that_is_too_old_causes_a_new_list(parts: Parts) -> None:
    fake, watch, _ = parts
    await fake.reached(watches=1)
    fake.oldest = 4
    await fake.delete("pods", "words-node-0", silently=True)  # it will never be told of this
    await fake.end_watches()
    await has(watch, 1)
    assert fake.lists >= 2


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_refusals_are_retried_and_logged_once(parts: Parts, status: int) -> None:
    fake, watch, _ = parts
    await fake.reached(watches=1)
    with capture_logs() as logs:
        fake.status = status
        await fake.end_watches()
        await until(lambda: str(status) in watch.failure)
        await has(watch, 0, 1)
        tries = len(watch._sleep.seconds)  # type: ignore[attr-defined]
        await until(lambda: len(watch._sleep.seconds) > tries + 3)  # type: ignore[attr-defined]
        fake.status = 200
        await fake.put("pods", pod(2))
        await has(watch, 0, 1, 2)
    assert watch.failure == ""
    told = [log["event"] for log in logs]
    assert told == ["watch of the Kubernetes API failed", "Kubernetes API responds again"]


async def test_pauses_grow_to_a_bound_while_it_fails(parts: Parts) -> None:
    fake, watch, _ = parts
    await fake.reached(watches=1)
    fake.status = 500
    await fake.end_watches()
    pauses = watch._sleep.seconds  # type: ignore[attr-defined]
    await until(lambda: len(pauses) > 12)
    for number, pause in enumerate(pauses[:12]):
        longest = min(watching.FIRST_PAUSE * 2**number, watching.LONGEST_PAUSE)
        assert longest / 2 <= pause <= longest


async def test_watches_that_end_at_once_do_not_make_a_busy_loop(tmp_path: Path) -> None:
    async with fake_kubernetes(tmp_path) as (fake, path):
        fake.watch_status = 500
        pauses = Pauses()
        task = asyncio.create_task(watch_of(path, sleep=pauses).run())
        await until(lambda: len(pauses.seconds) > 8)
        fake.watch_status = 200
        fake.oldest = 10**9
        await until(lambda: len(pauses.seconds) > 16)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert min(pauses.seconds[8:]) >= watching.LONGEST_PAUSE / 2, "though each list went well"


async def test_a_silent_watch_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "SILENCE_SECONDS", 0.05)
    async with fake_kubernetes(tmp_path) as (fake, path):
        await fake.put("pods", pod(0))
        watch = watch_of(path)
        task = asyncio.create_task(watch.run())
        await fake.reached(watches=1)
        await fake.delete("pods", "words-node-0", silently=True)
        await until(lambda: watch.listed and not watch.objects)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_server_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "REQUEST_SECONDS", 0.05)
    async with fake_kubernetes(tmp_path) as (fake, path):
        fake.hang()
        watch = watch_of(path)
        task = asyncio.create_task(watch.run())
        await until(lambda: "TimeoutError" in watch.failure)
        monkeypatch.undo()
        fake.answer()
        await until(lambda: watch.listed)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_look_again_lists_changes_that_the_watch_missed(parts: Parts) -> None:
    fake, watch, _ = parts
    await fake.reached(watches=1)
    await fake.delete("pods", "words-node-0", silently=True)
    watch.look_again()
    watch.look_again()
    await has(watch, 1)
    assert (fake.lists, watch.failure) == (2, "")


async def test_credentials_are_read_again_after_a_failure(parts: Parts) -> None:
    fake, watch, path = parts
    await fake.reached(watches=1)
    fake.token = "another-token"
    await fake.end_watches()
    await until(lambda: "401" in watch.failure)
    path.write_bytes(path.read_bytes().replace(b"a-token", b"another-token"))
    await fake.put("pods", pod(2))
    await has(watch, 0, 1, 2)


async def test_a_configuration_that_is_gone_is_waited_for(parts: Parts) -> None:
    fake, watch, path = parts
    await fake.reached(watches=1)
    config = path.read_bytes()
    path.unlink()
    fake.status = 500
    await fake.end_watches()
    await until(lambda: "not configured" in watch.failure)
    fake.status = 200
    path.write_bytes(config)
    await until(lambda: watch.failure == "")


async def test_an_invalid_response_is_a_failure(parts: Parts) -> None:
    fake, watch, _ = parts
    await fake.reached(watches=1)
    with capture_logs():
        await fake.put("pods", {"metadata": {"name": "words-node-9"}, "status": {"podIP": 9}})
        await until(lambda: "podIP" in watch.failure)
    await has(watch, 0, 1)
    await fake.delete("pods", "words-node-9", silently=True)
    await until(lambda: watch.failure == "")
    await has(watch, 0, 1)
