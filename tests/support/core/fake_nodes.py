"""Nodes that a test makes fail, wait, or lose cells."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
from tests.support.core.control import Gate

from vectorcache.index.node import SearchNode
from vectorcache.index.query import CellAnswer, CellQuery, StoredVector


class FakeClock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeNode(SearchNode):
    """A node that forwards calls to another node, unless the test sets another behaviour.

    Attributes:
        queries: the received queries.
        error: the error to raise, or None.
        gate: the gate at which searches wait, or None.
        lost: cells to report as not loaded.
        load: number of cells in flight to report; None reports the load of the other node.
        cancelled: number of searches that were cancelled by their caller.
    """

    def __init__(self, inner: SearchNode) -> None:
        self._inner = inner
        self.queries: list[CellQuery] = []
        self.error: Exception | None = None
        self.gate: Gate | None = None
        self.lost: set[int] = set()
        self.load: int | None = None
        self.cancelled = 0

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def cells(self) -> list[int]:
        """Every cell that it was asked for, as often as it was."""
        return sorted(cell for query in self.queries for cells in query.cells for cell in cells.tolist())

    async def search(self, query: CellQuery) -> CellAnswer:
        self.queries.append(query)
        try:
            if self.gate is not None:
                await self.gate.enter()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        answer = await self._search(query)
        return answer if self.load is None else msgspec.structs.replace(answer, load=self.load)

    async def _search(self, query: CellQuery) -> CellAnswer:
        if not self.lost:
            return await self._inner.search(query)
        lost = np.array(sorted(self.lost), dtype=np.int32)
        kept = [cells[~np.isin(cells, lost)] for cells in query.cells]
        answer = await self._inner.search(replace(query, cells=kept))
        named = np.unique(np.concatenate(list(query.cells)))
        return CellAnswer(answer.hits, named[np.isin(named, lost)].tolist(), "lost", answer.scanned)

    async def prefetch(self, collection: str, version: int, chunks: Sequence[int], timeout: float) -> int:
        return await self._inner.prefetch(collection, version, chunks, timeout)

    async def fetch(
        self, collection: str, version: int, chunk: int, positions: Sequence[int]
    ) -> list[StoredVector]:
        return await self._inner.fetch(collection, version, chunk, positions)

    async def close(self) -> None:
        await self._inner.close()
