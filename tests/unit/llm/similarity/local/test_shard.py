"""A slow ANN index is searched in a thread, and is not changed during the search."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.support.llm.index_contract import DIMENSION, entry, vectors

from vectorcache.concurrency import INLINE_WORK, Tasks
from vectorcache.vectors.metric import Floats
from vectorcache.vectors.topk import Rows
from vectorcache_llm.similarity.local.ann import ANNIndex, ANNKind
from vectorcache_llm.similarity.local.shard import Shard


class SlowANN(ANNIndex):
    """Blocks searches until ``release`` is set, and records whether rows were added during a search."""

    compared = int(INLINE_WORK)  # DIMENSION multiplications each: too many for the event loop

    def __init__(self) -> None:
        self.started, self.release = threading.Event(), threading.Event()
        self.added_during_search = False

    def __len__(self) -> int:
        return 0

    def add(self, rows: Rows, vectors: Floats) -> None:
        self.added_during_search |= self.started.is_set() and not self.release.is_set()

    def remove(self, rows: Rows) -> None:
        raise AssertionError("nothing is removed")

    def nearest(self, query: Floats, count: int) -> list[int]:
        self.started.set()
        assert self.release.wait(10)
        return [0]


async def test_a_cancelled_search_holds_the_ann_index_until_its_thread_ends() -> None:
    ann, tasks, rows = SlowANN(), Tasks(), vectors(41)
    shard = Shard(DIMENSION, ANNKind(40, lambda rows, vectors: ann, lambda k: k), tasks)
    await shard.index([shard.put(entry(f"{n}", row), row) for n, row in enumerate(rows[:40])])
    await tasks.drain()
    searching = asyncio.create_task(shard.search(rows[0], 1))
    async with asyncio.timeout(10):
        await asyncio.to_thread(ann.started.wait)  # needs a free event loop
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching
    indexing = asyncio.create_task(shard.index([shard.put(entry("new", rows[40]), rows[40])]))
    await asyncio.wait([indexing], timeout=0.05)
    assert not indexing.done()
    ann.release.set()
    await indexing
    assert not ann.added_during_search
    assert [one.id for _, one in await shard.search(rows[0], 1)] == ["0"]
