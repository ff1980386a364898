"""Streams: passed on, recorded, shared and replayed; never stored if incomplete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from tests.support.llm.fakes import Model, StreamingModel, cache_of
from tests.support.llm.flaky import FlakyEmbedder
from tests.support.waiting import until

from vectorcache.errors import Unavailable
from vectorcache_llm.observer import Outcome
from vectorcache_llm.response import Chunk, Reply, Request, ResponseCache, streams

QUESTION = "How do I reverse a string in Python?"
SIMILAR = "Please, how do I reverse a string in Python"
WHOLE = (Chunk("use "), Chunk("slices"), Chunk("", "stop"))


@pytest.fixture
def embedder() -> FlakyEmbedder:
    return FlakyEmbedder()


async def read(stream: AsyncGenerator[Chunk, None]) -> list[Chunk]:
    return [chunk async for chunk in stream]


async def settled(cache: ResponseCache) -> None:
    await until(lambda: not cache._background._running)


async def test_a_stream_is_recorded_and_replayed_chunk_by_chunk(embedder: FlakyEmbedder) -> None:
    model = StreamingModel(*WHOLE)
    async with cache_of(embedder) as cache:
        assert await read(cache.stream(Request(QUESTION), model)) == list(WHOLE)
        await settled(cache)
        assert await read(cache.stream(Request(QUESTION), model)) == list(WHOLE)
        assert await read(cache.stream(Request(SIMILAR), model)) == list(WHOLE)
        lookup = await cache.get(Request(QUESTION))
    assert (lookup.outcome, lookup.reply and lookup.reply.text) == (Outcome.EXACT, "use slices")
    assert (model.calls, model.closed) == (1, 1)


async def test_a_whole_reply_is_replayed_as_one_chunk(embedder: FlakyEmbedder) -> None:
    async with cache_of(embedder) as cache:
        await cache.put(Request(QUESTION), Reply("use slices"))
        assert await read(cache.stream(Request(QUESTION), StreamingModel())) == [Chunk("use slices", "stop")]


async def test_chunks_are_passed_on_as_they_arrive(embedder: FlakyEmbedder) -> None:
    gate = asyncio.Semaphore(0)
    model = StreamingModel(*WHOLE, gate=gate)
    async with cache_of(embedder) as cache:
        stream = cache.stream(Request(QUESTION), model)
        for chunk in WHOLE:
            gate.release()
            assert await anext(stream) == chunk
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_late_readers_read_from_the_beginning(embedder: FlakyEmbedder) -> None:
    gate = asyncio.Semaphore(2)
    model = StreamingModel(*WHOLE, gate=gate)
    async with cache_of(embedder) as cache:
        first = asyncio.create_task(read(cache.stream(Request(QUESTION), model)))
        await until(lambda: model.given == 2)
        others = [asyncio.create_task(read(cache.stream(Request(QUESTION), model))) for _ in range(20)]
        await asyncio.sleep(0)
        gate.release()
        assert await first == list(WHOLE)
        assert [await other for other in others] == [list(WHOLE)] * 20
    assert model.calls == 1


@pytest.mark.parametrize(
    "chunks",
    [
        (Chunk("use "), Chunk("sli", "length")),
        (Chunk("use "), Chunk("slices", "content_filter")),
        (Chunk("", "stop"),),
        ({"choices": [{"delta": {"content": "use"}, "finish_reason": None}]},),
        (),
    ],
)
async def test_incomplete_streams_are_passed_on_but_not_stored(
    embedder: FlakyEmbedder, chunks: tuple[Any, ...]
) -> None:
    async with cache_of(embedder) as cache:
        assert len(await read(cache.stream(Request(QUESTION), StreamingModel(*chunks)))) == len(chunks)
        await settled(cache)
        assert (await cache.get(Request(QUESTION))).reply is None


async def test_an_error_reaches_every_reader_after_the_chunks_before_it(embedder: FlakyEmbedder) -> None:
    gate = asyncio.Semaphore(0)
    model = StreamingModel(*WHOLE[:2], gate=gate, error=RuntimeError("connection lost"))

    async def reader() -> list[str]:
        seen = []
        try:
            async for chunk in cache.stream(Request(QUESTION), model):
                seen.append(chunk.text)
        except RuntimeError as error:
            seen.append(str(error))
        return seen

    async with cache_of(embedder) as cache:
        readers = [asyncio.create_task(reader()) for _ in range(3)]
        await until(lambda: model.calls == 1)
        for _ in range(2):
            gate.release()
        assert [await one for one in readers] == [["use ", "slices", "connection lost"]] * 3
        await settled(cache)
        assert (await cache.get(Request(QUESTION))).reply is None
        assert await read(cache.stream(Request(QUESTION), StreamingModel(*WHOLE))) == list(WHOLE)


async def test_a_stream_that_all_readers_left_is_stopped_and_not_stored(embedder: FlakyEmbedder) -> None:
    gate = asyncio.Semaphore(1)
    model = StreamingModel(*WHOLE, gate=gate)
    async with cache_of(embedder) as cache:
        stream = cache.stream(Request(QUESTION), model)
        await anext(stream)
        await stream.aclose()
        await until(lambda: model.closed == 1)
        await settled(cache)
        assert (await cache.get(Request(QUESTION))).reply is None
        gate.release()
        gate.release()
        gate.release()
        assert await read(cache.stream(Request(QUESTION), model)) == list(WHOLE)


async def test_a_reader_that_leaves_does_not_affect_the_others(embedder: FlakyEmbedder) -> None:
    gate = asyncio.Semaphore(1)
    model = StreamingModel(*WHOLE, gate=gate)
    async with cache_of(embedder) as cache:
        leaves = cache.stream(Request(QUESTION), model)
        stays = asyncio.create_task(read(cache.stream(Request(QUESTION), model)))
        await anext(leaves)
        await leaves.aclose()
        gate.release()
        gate.release()
        assert await stays == list(WHOLE)
        await settled(cache)
        assert (await cache.get(Request(QUESTION))).reply is not None


async def test_a_stream_is_complete_if_readers_leave_after_the_finish_reason(embedder: FlakyEmbedder) -> None:
    async with cache_of(embedder) as cache:
        async for chunk in (stream := cache.stream(Request(QUESTION), StreamingModel(*WHOLE))):
            if chunk.finish_reason:
                break
        await stream.aclose()
        await settled(cache)
        assert (await cache.get(Request(QUESTION))).reply is not None


async def test_closing_the_cache_raises_in_readers(embedder: FlakyEmbedder) -> None:
    gate = asyncio.Semaphore(1)
    cache = cache_of(embedder, drain=0.01)
    await cache.open()
    stream = cache.stream(Request(QUESTION), StreamingModel(*WHOLE, gate=gate))
    await anext(stream)
    await cache.close()
    with pytest.raises(Unavailable):
        await anext(stream)


async def test_a_slow_reader_holds_the_source_back(embedder: FlakyEmbedder) -> None:
    model = StreamingModel(*(Chunk("x") for _ in range(5 * streams.LEAD)))
    async with cache_of(embedder) as cache:
        stream = cache.stream(Request(QUESTION), model)
        await anext(stream)
        for _ in range(3 * streams.LEAD):
            await asyncio.sleep(0)
        assert model.given <= streams.LEAD + 2
        assert len(await read(stream)) == 5 * streams.LEAD - 1


async def test_an_endless_stream_takes_bounded_memory(
    embedder: FlakyEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_RECORDED", 100)
    model = StreamingModel(*(Chunk("x" * 10) for _ in range(3000)), Chunk("", "stop"))
    async with cache_of(embedder) as cache:
        stream = cache.stream(Request(QUESTION), model)
        count = 0
        async for _ in stream:
            count += 1
            for recording in cache._recordings.values():
                assert len(recording._chunks) <= 2 * streams.LEAD
        assert count == 3001
        await settled(cache)
        assert (await cache.get(Request(QUESTION))).reply is None


async def test_uncached_requests_stream_too(embedder: FlakyEmbedder) -> None:
    model = StreamingModel(*WHOLE)
    async with cache_of(embedder) as cache:
        for _ in range(2):
            stream = cache.stream(Request(QUESTION, parameters={"n": 2}), model)
            assert await read(stream) == list(WHOLE)
    assert (model.calls, model.closed) == (2, 2)


async def test_streams_and_calls_share_replies(embedder: FlakyEmbedder) -> None:
    async with cache_of(embedder) as cache:
        await read(cache.stream(Request(QUESTION, parameters={"stream": True}), StreamingModel(*WHOLE)))
        await settled(cache)
        answer = await cache.get_or_call(Request(QUESTION), Model())
        assert answer.reply.text == "use slices"
