"""All caches of a configuration on a real Redis: the reasoning cache, chat memory, the manager."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from tests.support.llm.redis_server import RedisServer, redis_server

from vectorcache.errors import Unavailable
from vectorcache_llm.chat import Turn
from vectorcache_llm.config import load, open_caches
from vectorcache_llm.manager import Manager
from vectorcache_llm.reasoning import Thought, TreeOfThought
from vectorcache_llm.response import Reply, Request
from vectorcache_llm.scope import EVERYTHING, Scope, Selection

ADA, BOB = Scope("a*", "ada|{x}"), Scope("a*", "bob")
TREE = TreeOfThought.grow("make 24 of 4 6 8 2", [Thought("r", None, ""), Thought("a", "r", "4 x 6", 0.9)])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def raw(server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(server.url) as raw:
        await raw.flushall()
        yield raw


def settings(folder: Path, url: str) -> Any:
    return load(
        code={
            "data": str(folder),
            "embedder.name": "hashing",
            "redis": {"url": url, "deadline": 2.0},
            "embedding.tiers": ["redis"],
            "response": {"tiers": ["memory", "redis"], "min_similarity": 0.5, "deadline": 2.0},
            "reasoning": {"store": "redis", "index": "redis-vectorset"},
            "chat": {"store": "redis", "index": "redis"},
        }
    )


@pytest.fixture
async def caches(tmp_path: Path, server: RedisServer, raw: redis.asyncio.Redis) -> AsyncIterator[Manager]:
    async with await open_caches(settings(tmp_path, server.url)) as manager:
        yield manager


async def filled(caches: Manager) -> None:
    for scope in (ADA, BOB):
        await caches.response.put(Request("What is the capital of France?"), Reply("Paris."), scope)
        await caches.reasoning.put(TREE, scope)
        await caches.chat.append("s", Turn("user", "my fish is red"), Turn("assistant", "nice"), scope=scope)


async def test_another_process_finds_all_of_it(caches: Manager, tmp_path: Path, server: RedisServer) -> None:
    await filled(caches)
    async with await open_caches(settings(tmp_path, server.url)) as other:
        found = await other.response.get(Request("What is the capital city of France?"), ADA)
        assert (found.reply, found.tier) == (Reply("Paris."), "redis")
        (near,) = await other.reasoning.similar(
            "make 24 of 4 6 8 and 2", ADA, min_similarity=0.5, refused=True
        )
        assert near.reasoning == TREE
        assert len((await other.chat.context("s", scope=ADA)).messages) == 2


async def test_concurrent_turns_of_several_processes_are_all_kept(
    caches: Manager, tmp_path: Path, server: RedisServer
) -> None:
    async with (
        await open_caches(settings(tmp_path, server.url)) as one,
        await open_caches(settings(tmp_path, server.url)) as another,
    ):
        chats = (caches.chat, one.chat, another.chat)
        turns = [Turn("user", str(number)) for number in range(60)]
        await asyncio.gather(*(chats[n % 3].append("s", turn, scope=ADA) for n, turn in enumerate(turns)))
        kept = await caches.chat.history("s", scope=ADA)
    assert sorted(int(turn.content) for turn in kept) == list(range(60))


async def test_nothing_of_a_deleted_user_is_left(caches: Manager, raw: redis.asyncio.Redis) -> None:
    await filled(caches)
    report = await caches.invalidate(Selection(tenant=ADA.tenant, user=ADA.user))
    assert report.ok
    assert report.counts["response"] == report.counts["reasoning"] == 1
    assert (await caches.response.get(Request("What is the capital of France?"), ADA)).reply is None
    assert await caches.reasoning.get(TREE.problem, ADA) is None
    assert await caches.chat.sessions(ADA) == []
    assert (await caches.response.get(Request("What is the capital of France?"), BOB)).reply is not None
    assert len(await caches.chat.history("s", scope=BOB)) == 2
    await caches.invalidate(EVERYTHING)
    left = [await raw.dump(key) async for key in raw.scan_iter(count=1000)]
    assert all(b"fish" not in value for value in left)


async def test_export_and_restore_are_exact(caches: Manager, tmp_path: Path) -> None:
    await filled(caches)
    await caches.export(tmp_path / "one.jsonl")
    await caches.invalidate(EVERYTHING)
    assert (await caches.restore(tmp_path / "one.jsonl")).ok
    await caches.export(tmp_path / "two.jsonl")
    one, two = ((tmp_path / name).read_text().splitlines()[1:] for name in ("one.jsonl", "two.jsonl"))
    assert sorted(one) == sorted(two)


async def test_a_killed_redis_is_reported_and_used_again_later(
    caches: Manager, server: RedisServer, tmp_path: Path
) -> None:
    server.kill()
    try:
        assert await caches.reasoning.get(TREE.problem) is None
        assert not await caches.reasoning.put(TREE)
        with pytest.raises(Unavailable):
            await caches.chat.append("s", Turn("user", "hello"))
        report = await caches.invalidate(EVERYTHING)
        assert set(report.errors) == {"embedding", "response", "reasoning", "chat"}
        health = await caches.health()
        assert [part.ok for part in health["chat"]] == [False, False, True]
    finally:
        server.start_again()
    async with asyncio.timeout(15):
        while not (await caches.invalidate(EVERYTHING)).ok:  # noqa: ASYNC110 - a server has no event to wait for
            await asyncio.sleep(0.05)
    assert all(part.ok for parts in (await caches.health()).values() for part in parts)
    assert len(await caches.reasoning.similar(TREE.problem)) == 0
    await caches.chat.append("s", Turn("user", "hello"))
    assert [turn.content for turn in await caches.chat.history("s")] == ["hello"]
    assert await caches.chat.delete_similar(Scope(), "hello!", 0.5) == 1
