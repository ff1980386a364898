"""Finders that take long are asked in a thread, and nothing changes them meanwhile."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.support.llm_index_contract import DIMENSION, entry, vectors

from vectorcache.concurrency import INLINE_WORK, Tasks
from vectorcache.vectors.metric import Floats
from vectorcache.vectors.topk import Rows
from vectorcache_llm.similarity.local.ann import ANNIndex, ANNKind
from vectorcache_llm.similarity.local.shard import Shard


class SlowANN(ANNIndex):
    """Answers when it is let; says how many calls there were at once."""

    compared = int(INLINE_WORK)  # of DIMENSION multiplications each: too much for the event loop

    def __init__(self) -> None:
        self.asked, self.let = threading.Event(), threading.Event()
        self.learnt_while_asked = False

    def __len__(self) -> int:
        return 0

    def add(self, rows: Rows, vectors: Floats) -> None:
        self.learnt_while_asked |= self.asked.is_set() and not self.let.is_set()

    def remove(self, rows: Rows) -> None:
        raise AssertionError("nothing is removed")

    def nearest(self, query: Floats, count: int) -> list[int]:
        self.asked.set()
        assert self.let.wait(10)
        return [0]


async def test_a_search_that_was_given_up_keeps_its_finder_to_its_end() -> None:
    ann, tasks, rows = SlowANN(), Tasks(), vectors(41)
    shard = Shard(DIMENSION, ANNKind(40, lambda rows, vectors: ann, lambda k: k), tasks)
    await shard.index([shard.keep(entry(f"{n}", row), row) for n, row in enumerate(rows[:40])])
    await tasks.drain()
    searching = asyncio.create_task(shard.search(rows[0], 1))
    async with asyncio.timeout(10):
        await asyncio.to_thread(ann.asked.wait)  # which the event loop must be free for
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching
    settling = asyncio.create_task(shard.index([shard.keep(entry("new", rows[40]), rows[40])]))
    await asyncio.wait([settling], timeout=0.05)
    assert not settling.done()
    ann.let.set()
    await settling
    assert not ann.learnt_while_asked
    assert [one.id for _, one in await shard.search(rows[0], 1)] == ["0"]
