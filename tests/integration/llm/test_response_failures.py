"""The response cache on a real Redis that is killed, frozen and slowed under load, without errors for callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.llm.redis_server import RedisServer, redis_server
from tests.support.tcp_proxy import tcp_proxy

from vectorcache_llm.embedders import HashingEmbedder
from vectorcache_llm.observer import Outcome
from vectorcache_llm.response import Fixed, Guard, Reply, Request, ResponseCache
from vectorcache_llm.similarity import MemoryIndex, RedisSearchIndex

DEADLINE = 0.15
NEVER = 3600.0
"""Delay of the replies of a hindered Redis, in seconds. A call that waits for one does not end within the test."""
CALLERS = 8
PATIENCE = 30.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@asynccontextmanager
async def a_cache(url: str, *, memory: bool = False) -> AsyncIterator[ResponseCache]:
    embedder = HashingEmbedder()
    far = RedisSearchIndex(url, embedder.fingerprint, embedder.dimension)
    near = [MemoryIndex(embedder.fingerprint, embedder.dimension)] if memory else []
    settings = {"threshold": Fixed(0.5), "guard": Guard(), "deadline": DEADLINE, "drain": 1.0}
    async with ResponseCache(embedder, [*near, far], **settings) as cache:  # type: ignore[arg-type]
        yield cache


@dataclass
class Load:
    """Callers that ask continuously. Each question is asked twice, so that hits are possible."""

    cache: ResponseCache
    outcomes: list[Outcome] = field(default_factory=list)
    stopped: bool = False

    async def ask(self, caller: int) -> None:
        number = 0
        while not self.stopped:
            request = Request(f"question {caller} {number // 2}")
            number += 1

            async def call(request: Request) -> Reply:
                await asyncio.sleep(0.002)
                return Reply(f"reply to {request.question}")

            answer = await self.cache.get_or_call(request, call)
            assert answer.reply.text == f"reply to {request.question}"
            self.outcomes.append(answer.lookup.outcome)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - a server restart has no event to wait for
                await asyncio.sleep(0.01)

    async def for_calls(self, count: int) -> None:
        """Wait for a number of further calls, and discard the earlier ones."""
        self.outcomes.clear()
        await self.until(lambda: len(self.outcomes) >= count)


@asynccontextmanager
async def load(cache: ResponseCache) -> AsyncIterator[Load]:
    running = Load(cache)
    async with asyncio.TaskGroup() as callers:  # an error of any caller is the test's
        for caller in range(CALLERS):
            callers.create_task(running.ask(caller))
        try:
            yield running
        finally:
            running.stopped = True


def hits(outcomes: list[Outcome]) -> float:
    return outcomes.count(Outcome.EXACT) / len(outcomes)


async def trouble_passes(running: Load, begin: Callable[[], None], end: Callable[[], None]) -> None:
    """Check for hits before the failure, for calls that end during it, and for hits after it."""
    await running.for_calls(100)
    assert hits(running.outcomes) > 0.3
    begin()
    await running.for_calls(200)
    assert Outcome.FAILED in running.outcomes
    end()
    running.outcomes.clear()
    await running.until(lambda: running.outcomes[-40:].count(Outcome.EXACT) > 12)


async def test_a_redis_that_is_killed_and_comes_back_empty(server: RedisServer) -> None:
    async with a_cache(server.url) as cache, load(cache) as running:
        await trouble_passes(running, server.kill, server.start_again)


async def test_a_redis_that_freezes(server: RedisServer) -> None:
    async with a_cache(server.url) as cache, load(cache) as running:
        await trouble_passes(running, server.freeze, server.thaw)


async def test_a_redis_whose_replies_do_not_come(server: RedisServer) -> None:
    async with tcp_proxy("127.0.0.1", server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        async with a_cache(url) as cache, load(cache) as running:
            await trouble_passes(
                running, lambda: setattr(proxy, "delay", NEVER), lambda: setattr(proxy, "delay", 0.0)
            )


async def test_a_missing_redis(tmp_path: Path, server: RedisServer) -> None:
    server.kill()
    async with a_cache(server.url) as cache, load(cache) as running:
        await running.for_calls(100)
        server.start_again()
        await running.until(lambda: running.outcomes[-40:].count(Outcome.EXACT) > 12)


async def test_the_memory_tier_serves_hits_while_redis_is_frozen(server: RedisServer) -> None:
    async with a_cache(server.url, memory=True) as cache:
        await cache.put(Request("How do I bake bread?"), Reply("slowly"))
        server.freeze()
        for _ in range(20):
            lookup = await cache.get(Request("How do I bake bread?"))
            assert (lookup.outcome, lookup.tier) == (Outcome.EXACT, "memory")
        server.thaw()


async def test_a_second_process_finds_what_the_first_one_stored(server: RedisServer) -> None:
    async with a_cache(server.url, memory=True) as one, a_cache(server.url, memory=True) as other:
        await one.put(Request("How do I bake bread?"), Reply("slowly"))
        assert (await other.get(Request("How do I bake bread?"))).outcome is Outcome.EXACT
        lookup = await other.get(Request("Please, how do I bake bread"))
        assert (lookup.outcome, lookup.reply) == (Outcome.SEMANTIC, Reply("slowly"))
