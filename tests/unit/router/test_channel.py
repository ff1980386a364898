from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from tests.support.core.queries import search_options
from tests.support.router.fake_node import FakeNode, fake_node

from vectorcache.errors import Unavailable
from vectorcache.wire import internal
from vectorcache_router import channel as module
from vectorcache_router.channel import Channel
from vectorcache_service.app import STREAM_PATH
from vectorcache_service.stream import Reply

Parts = tuple[FakeNode, Channel]


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    async with fake_node() as (fake, url), ClientSession() as session:
        channel = Channel(url + STREAM_PATH, session)
        yield fake, channel
        fake.release()
        await channel.close()


OPTIONS = search_options(1)


def call(channel: Channel, timeout: float = 5.0) -> asyncio.Task[Reply]:
    request = internal.NodeSearchRequest(
        collection="c", version=1, vectors=bytes(8), cells=[b""], options=search_options(1)
    )
    return asyncio.create_task(channel.call("/v1/search", request, timeout))


async def test_many_calls_share_one_connection(parts: Parts) -> None:
    fake, channel = parts
    fake.hold()
    calls = [call(channel) for _ in range(20)]
    await fake.arrivals(20)
    fake.release()
    replies = await asyncio.gather(*calls)
    assert [reply.status for reply in replies] == [200] * 20
    assert fake.connections == 1
    assert fake.most == 20


async def test_a_cancelled_call_does_not_affect_others(parts: Parts) -> None:
    fake, channel = parts
    fake.hold()
    late, cancelled, patient = call(channel, 0.05), call(channel), call(channel)
    await fake.arrivals(3)
    cancelled.cancel()
    with pytest.raises(TimeoutError):
        await late
    fake.release()
    assert (await patient).status == 200
    assert (await call(channel)).status == 200
    assert fake.connections == 1


async def test_a_broken_connection_fails_its_calls_and_the_next_one_connects_again(parts: Parts) -> None:
    fake, channel = parts
    fake.hold()
    calls = [call(channel) for _ in range(2)]
    await fake.arrivals(2)
    await fake.hang_up()
    for one in calls:
        with pytest.raises(Unavailable, match="was lost"):
            await one
    fake.release()
    assert (await call(channel)).status == 200
    assert fake.connections == 2


async def test_a_silent_peer_is_given_up(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, channel = parts
    monkeypatch.setattr(module, "HEARTBEAT", 0.05)
    fake.deaf = True
    with pytest.raises(Unavailable, match="was lost"):
        await call(channel, 30)


async def test_a_peer_that_answers_pings_is_not(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, channel = parts
    monkeypatch.setattr(module, "HEARTBEAT", 0.1)
    fake.hold()
    waiting = call(channel, 30)
    await asyncio.sleep(0.5)  # several heartbeats
    fake.release()
    assert (await waiting).status == 200


async def test_a_failed_connection_is_unavailable(unused_tcp_port: int) -> None:
    async with ClientSession() as session:
        channel = Channel(f"http://127.0.0.1:{unused_tcp_port}{STREAM_PATH}", session)
        results = await asyncio.gather(*(call(channel) for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable] * 3
        await channel.close()


async def test_closing_waits_for_calls_and_takes_no_more(parts: Parts) -> None:
    fake, channel = parts
    fake.hold()
    running = call(channel)
    await fake.arrivals(1)
    closing = asyncio.create_task(channel.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="closed"):
        await call(channel)
    assert not closing.done()
    fake.release()
    assert (await running).status == 200
    await closing
